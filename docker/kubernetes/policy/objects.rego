# What the policies share. Input: {"items": [object, …]}, all objects of one installation.
package main

import rego.v1

services := [item | some item in input.items; item.kind in {"Deployment", "StatefulSet"}]

workloads := array.concat(services, [item | some item in input.items; item.kind == "Job"])

# Every container with the workload that it belongs to.
containers := [{"workload": workload, "container": container} |
	some workload in workloads
	some container in workload.spec.template.spec.containers
]

variables := [{"workload": entry.workload, "variable": variable} |
	some entry in containers
	some variable in object.get(entry.container, "env", [])
]

named(item) := sprintf("%s/%s", [item.kind, item.metadata.name])

# Whether an object of this kind selects the pods of a workload.
selected(workload, kind, selector) if {
	some item in input.items
	item.kind == kind
	labels := object.get(item, selector, {})
	count(labels) > 0
	is_subset(labels, workload.spec.template.metadata.labels)
}

is_subset(labels, of) if {
	every name, value in labels {
		of[name] == value
	}
}
