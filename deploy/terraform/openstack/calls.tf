# The calls that the agent makes. A test compares them with the code: none is missing, and none is left over.

locals {
  calls = [
    { service = "compute", method = "GET", path = "/servers" },
    { service = "compute", method = "GET", path = "/servers/detail" },
    { service = "compute", method = "POST", path = "/servers" },
    { service = "compute", method = "GET", path = "/servers/*" },
    { service = "compute", method = "DELETE", path = "/servers/*" },
    { service = "compute", method = "POST", path = "/servers/*/action" },
    { service = "compute", method = "GET", path = "/flavors/detail" },
    { service = "compute", method = "GET", path = "/flavors/*" },
    { service = "compute", method = "GET", path = "/limits" },
    { service = "compute", method = "GET", path = "/os-availability-zone" },
    { service = "compute", method = "GET", path = "/os-keypairs" },
    { service = "compute", method = "GET", path = "/os-server-groups" },
    { service = "compute", method = "POST", path = "/os-server-groups" },
    { service = "compute", method = "DELETE", path = "/os-server-groups/*" },
    { service = "network", method = "GET", path = "/networks" },
    { service = "network", method = "GET", path = "/subnets" },
    { service = "network", method = "GET", path = "/security-groups" },
    { service = "network", method = "GET", path = "/ports" },
    { service = "network", method = "DELETE", path = "/ports/*" },
    { service = "image", method = "GET", path = "/images" },
    { service = "image", method = "GET", path = "/images/*" },
    { service = "image", method = "DELETE", path = "/images/*" },
  ]

  port_calls = [
    { service = "network", method = "PUT", path = "/ports/*" },
  ]

  floating_ip_calls = [
    { service = "network", method = "GET", path = "/floatingips" },
    { service = "network", method = "POST", path = "/floatingips" },
    { service = "network", method = "PUT", path = "/floatingips/*/tags" },
    { service = "network", method = "DELETE", path = "/floatingips/*" },
  ]

  volume_calls = [
    { service = "block-storage", method = "GET", path = "/types" },
    { service = "block-storage", method = "GET", path = "/limits" },
    { service = "block-storage", method = "GET", path = "/volumes/detail" },
    { service = "block-storage", method = "GET", path = "/volumes/*" },
    { service = "block-storage", method = "POST", path = "/volumes/*/metadata" },
    { service = "block-storage", method = "DELETE", path = "/volumes/*" },
  ]

  octavia_calls = concat(
    [
      { service = "load-balancer", method = "GET", path = "/loadbalancers" },
      { service = "load-balancer", method = "GET", path = "/loadbalancers/*" },
      { service = "load-balancer", method = "PUT", path = "/loadbalancers/*" },
      { service = "load-balancer", method = "GET", path = "/loadbalancers/*/status" },
      { service = "load-balancer", method = "GET", path = "/listeners/*/stats" },
      { service = "load-balancer", method = "GET", path = "/pools/*/members" },
      { service = "load-balancer", method = "PUT", path = "/pools/*/members" },
      { service = "load-balancer", method = "GET", path = "/l7policies/*/rules" },
      { service = "load-balancer", method = "POST", path = "/l7policies/*/rules" },
    ],
    [
      for pair in setproduct(["listeners", "pools", "healthmonitors", "l7policies"], ["GET", "POST"]) :
      { service = "load-balancer", method = pair[1], path = "/${pair[0]}" }
    ],
    [
      for pair in setproduct(["listeners", "pools", "healthmonitors", "l7policies"], ["PUT", "DELETE"]) :
      { service = "load-balancer", method = pair[1], path = "/${pair[0]}/*" }
    ],
  )
}
