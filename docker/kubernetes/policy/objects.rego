# What the policies share. Input: {"items": [object, …]}, all objects of one installation.
package main

import rego.v1

services := [object | some object in input.items; object.kind in {"Deployment", "StatefulSet"}]

workloads := array.concat(services, [object | some object in input.items; object.kind == "Job"])

# Every container with the workload that it belongs to.
containers := [{"workload": workload, "container": container} |
	some workload in workloads
	some container in workload.spec.template.spec.containers
]

variables := [{"workload": entry.workload, "variable": variable} |
	some entry in containers
	some variable in object.get(entry.container, "env", [])
]

named(object) := sprintf("%s/%s", [object.kind, object.metadata.name])

# Whether an object of this kind selects the pods of a workload.
selected(workload, kind, selector) if {
	some object in input.items
	object.kind == kind
	labels := object.get(object, selector, {})
	count(labels) > 0
	is_subset(labels, workload.spec.template.metadata.labels)
}

is_subset(labels, of) if {
	every name, value in labels {
		of[name] == value
	}
}
