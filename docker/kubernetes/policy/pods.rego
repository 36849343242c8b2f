# What every pod keeps to, beyond Pod Security "restricted", which the API server enforces. A message begins with the name of its
# policy.
package main

import rego.v1

deny contains sprintf("image-version: %s: %s needs a version other than latest, or a digest", [named(entry.workload), image]) if {
	some entry in containers
	image := entry.container.image
	not regex.match(`(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_.-]+)$`, image)
}

deny contains sprintf("image-version: %s: %s is whatever was pushed last", [named(entry.workload), entry.container.image]) if {
	some entry in containers
	endswith(entry.container.image, ":latest")
}

probes := {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}

# An orchestrator may reach the probe port; the public port may need a client certificate.
deny contains sprintf("probes: %s: %s must ask %s on the port probe", [named(service), probe, path]) if {
	some service in services
	some container in service.spec.template.spec.containers
	some probe, path in probes
	object.get(container, [probe, "httpGet"], {}) != {"path": path, "port": "probe"}
}

deny contains sprintf("resources: %s: %s is not set", [named(entry.workload), concat(".", path)]) if {
	some entry in containers
	some path in [["requests", "cpu"], ["requests", "memory"], ["limits", "memory"]]
	not object.get(entry.container.resources, path, false)
}

# A worker starts as many sessions as it has cores, and without a limit it has all of its node.
deny contains sprintf("worker-cores: %s: limits.cpu is not set", [named(service)]) if {
	some service in services
	some container in service.spec.template.spec.containers
	container.command[0] == "detector-worker"
	not container.resources.limits.cpu
}

# The variables of Services begin with SIGHTLINE_ too, and the programs refuse unknown settings.
deny contains sprintf("service-links: %s: enableServiceLinks must be false", [named(workload)]) if {
	some workload in workloads
	object.get(workload.spec.template.spec, "enableServiceLinks", true) != false
}

deny contains sprintf("api-token: %s: automountServiceAccountToken must be false", [named(workload)]) if {
	some workload in workloads
	object.get(workload.spec.template.spec, "automountServiceAccountToken", true) != false
}

deny contains sprintf("read-only: %s: readOnlyRootFilesystem must be true", [named(entry.workload)]) if {
	some entry in containers
	object.get(entry.container, ["securityContext", "readOnlyRootFilesystem"], false) != true
}

# The operator's port has calls without a credential.
deny contains sprintf("admin-port: %s: the operator's port must stay on the loopback interface", [named(entry.workload)]) if {
	some entry in variables
	entry.variable.name == "SIGHTLINE_ADMIN_ADDR"
	not startswith(object.get(entry.variable, "value", ""), "127.0.0.1:")
}

deny contains sprintf("admin-port: %s: no port may be 9600, the operator's", [named(item)]) if {
	some item in input.items
	some name in ["port", "targetPort", "containerPort"]
	walk(item, [path, 9600])
	path[count(path) - 1] == name
}

secrets := {"ADMIN_TOKEN", "DATABASE_URL", "KAFKA_PROPERTIES", "MEDIA_S3_ACCESS_KEY_ID", "MEDIA_S3_SECRET_ACCESS_KEY", "MONGODB_URI", "OIDC_CLIENT_SECRET", "OTLP_HEADERS", "REDIS_URL", "SMTP_URL"}

# The owner of the tables reads every secret in them, so a service that needs less has a role of its own.
deny contains sprintf("database-role: %s: it connects to the database with the credential of %s", [named(one.workload), named(other.workload)]) if {
	some one in variables
	some other in variables
	one.variable.name == "SIGHTLINE_DATABASE_URL_FILE"
	other.variable.name == one.variable.name
	other.variable.value == one.variable.value
	not owns_tables(one.workload)
	named(one.workload) != named(other.workload)
}

owns_tables(workload) if {
	workload.metadata.labels["app.kubernetes.io/component"] in {"audio-worker", "ingest-api", "migrate", "shop-api"}
}

# Everybody who may read pods can read their environment.
deny contains sprintf("secret-in-environment: %s: %s must come from a file", [named(entry.workload), entry.variable.name]) if {
	some entry in variables
	trim_prefix(entry.variable.name, "SIGHTLINE_") in secrets
}

# data.settings: the names of crates/settings/src/known.txt.
deny contains sprintf("unknown-setting: %s: %s is not a setting", [named(entry.workload), name]) if {
	some entry in variables
	name := entry.variable.name
	startswith(name, "SIGHTLINE_")
	not name in data.settings
	not trim_suffix(name, "_FILE") in data.settings
}

deny contains sprintf("repeated-setting: %s: %s is set more than once", [named(entry.workload), variable.name]) if {
	some entry in containers
	some one, variable in entry.container.env
	some other, same in entry.container.env
	one < other
	variable.name == same.name
}

deny contains sprintf("stop-time: %s: it is killed after %d s, before its %d s are over", [named(service), killed, needed]) if {
	some service in services
	some container in service.spec.template.spec.containers
	some variable in container.env
	variable.name == "SIGHTLINE_STOP_GRACE_SECONDS"
	needed := to_number(variable.value) + sum(stop_delays(container))
	killed := object.get(service.spec.template.spec, "terminationGracePeriodSeconds", 30)
	killed <= needed
}

# A pod gets requests until every node knows that it leaves its Service.
deny contains sprintf("stop-delay: %s: it closes its port as soon as it is asked to stop", [named(service)]) if {
	some service in services
	some container in service.spec.template.spec.containers
	some port in container.ports
	port.name == "http"
	sum(stop_delays(container)) < 1
}

stop_delays(container) := [to_number(variable.value) |
	some variable in container.env
	variable.name == "SIGHTLINE_STOP_DELAY_SECONDS"
]

# Else the program stops at its start, because it cannot read the file.
deny contains sprintf("unmounted-secret: %s: nothing is mounted at %s", [named(entry.workload), path]) if {
	some entry in variables
	path := entry.variable.value
	startswith(path, "/run/secrets/sightline/")
	mounted := {concat("/", ["/run/secrets/sightline", item.path]) |
		some volume in entry.workload.spec.template.spec.volumes
		some item in volume.secret.items
	}
	not path in mounted
}
