# An agent on a server of its region: it dials the controller and the cloud, servers fetch packages from it, and clients
# reach its HAProxy.

resource "openstack_networking_secgroup_v2" "agent" {
  name                 = "repave-agent-${var.region}"
  description          = "Agent of repave in ${var.region}"
  delete_default_rules = true
}

resource "openstack_networking_secgroup_rule_v2" "out" {
  for_each          = toset(["IPv4", "IPv6"])
  direction         = "egress"
  ethertype         = each.key
  security_group_id = openstack_networking_secgroup_v2.agent.id
}

resource "openstack_networking_secgroup_rule_v2" "packages" {
  for_each          = toset(var.server_cidrs)
  direction         = "ingress"
  ethertype         = strcontains(each.key, ":") ? "IPv6" : "IPv4"
  protocol          = "tcp"
  port_range_min    = 7480
  port_range_max    = 7480
  remote_ip_prefix  = each.key
  security_group_id = openstack_networking_secgroup_v2.agent.id
}

resource "openstack_networking_secgroup_rule_v2" "traffic" {
  for_each          = local.ingress
  direction         = "ingress"
  ethertype         = strcontains(each.value[0], ":") ? "IPv6" : "IPv4"
  protocol          = "tcp"
  port_range_min    = tonumber(each.value[1])
  port_range_max    = tonumber(each.value[1])
  remote_ip_prefix  = each.value[0]
  security_group_id = openstack_networking_secgroup_v2.agent.id
}

resource "openstack_networking_port_v2" "agent" {
  name               = "repave-agent-${var.region}"
  network_id         = var.network_id
  security_group_ids = [openstack_networking_secgroup_v2.agent.id]
}

resource "openstack_compute_instance_v2" "agent" {
  name         = "repave-agent-${var.region}"
  flavor_name  = var.flavor_name
  config_drive = true
  user_data    = local.user_data

  network {
    port = openstack_networking_port_v2.agent.id
  }

  block_device {
    uuid                  = var.image_id
    source_type           = "image"
    destination_type      = "volume"
    volume_size           = var.volume_gib
    delete_on_termination = false
  }

  lifecycle {
    ignore_changes = [user_data, block_device] # a new token or package is no reason for a new agent
  }
}

# What the agent logs in with: this project, these calls, and nothing else.
resource "openstack_identity_application_credential_v3" "agent" {
  name         = "repave-agent-${var.region}"
  description  = "Agent of repave in ${var.region}"
  roles        = concat(["member"], var.uses_octavia ? ["load-balancer_member"] : [])
  unrestricted = false

  dynamic "access_rules" {
    for_each = concat(
      local.calls,
      var.uses_ports ? local.port_calls : [],
      var.uses_floating_ips ? local.floating_ip_calls : [],
      var.uses_volumes ? local.volume_calls : [],
      var.uses_octavia ? local.octavia_calls : [],
    )
    content {
      service = access_rules.value.service
      method  = access_rules.value.method
      path    = "${var.paths[access_rules.value.service]}${access_rules.value.path}"
    }
  }
}
