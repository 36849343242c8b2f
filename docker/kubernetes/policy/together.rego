# What objects owe each other.
package main

import rego.v1

scalers := [item | some item in input.items; item.kind in {"HorizontalPodAutoscaler", "ScaledObject"}]

scaled(service) if {
	some scaler in scalers
	scaler.spec.scaleTargetRef.kind == service.kind
	scaler.spec.scaleTargetRef.name == service.metadata.name
}

# With both, each upgrade would reset what the scaler chose.
deny contains sprintf("scaler-owns-replicas: %s: spec.replicas is set, but a scaler owns it", [named(service)]) if {
	some service in services
	scaled(service)
	service.spec.replicas
}

deny contains sprintf("scaler-target: %s: it scales nothing", [named(scaler)]) if {
	some scaler in scalers
	targets := [service | some service in services; service.metadata.name == scaler.spec.scaleTargetRef.name]
	not any_kind(targets, scaler.spec.scaleTargetRef.kind)
}

any_kind(objects, kind) if {
	some item in objects
	item.kind == kind
}

deny contains sprintf("disruption-budget: %s: no PodDisruptionBudget selects it", [named(service)]) if {
	some service in services
	not selected(service, "PodDisruptionBudget", ["spec", "selector", "matchLabels"])
}

# A job, too: it has the passwords of the databases.
deny contains sprintf("network-policy: %s: no NetworkPolicy selects it", [named(workload)]) if {
	some workload in workloads
	not selected(workload, "NetworkPolicy", ["spec", "podSelector", "matchLabels"])
}

deny contains sprintf("service-port: %s: no pod that it selects has a port %s", [named(item), port.targetPort]) if {
	some item in input.items
	item.kind == "Service"
	some port in item.spec.ports
	ports := [port.name |
		some service in services
		is_subset(item.spec.selector, service.spec.template.metadata.labels)
		some container in service.spec.template.spec.containers
		some port in container.ports
	]
	not port.targetPort in ports
}
