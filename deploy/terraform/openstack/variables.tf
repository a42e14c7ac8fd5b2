variable "region" {
  description = "The region, as specs name it."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.region))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "packages" {
  description = "Where the machine fetches repave_*.deb and repave-agent_*.deb over HTTPS, with their SHA-256."
  type        = list(object({ url = string, sha256 = string }))
  validation {
    condition = length(var.packages) > 0 && alltrue([
      for each in var.packages : startswith(each.url, "https://") && can(regex("^[0-9a-f]{64}$", each.sha256))
    ])
    error_message = "Each needs an https:// URL and a SHA-256 of 64 hexadecimal digits."
  }
}

variable "settings" {
  description = "REPAVE_AGENT_* for /etc/default/repave-agent. No secrets: who reads the user data reads them."
  type        = map(string)
  default     = {}
}

variable "join" {
  description = "URL and token of `repave agents join`, good once and for an hour. Null: join on the machine by hand."
  type        = object({ url = string, token = string })
  default     = null
  sensitive   = true
}

variable "haproxy" {
  description = "Whether the agent runs an HAProxy of its own on this machine."
  type        = bool
  default     = true
}

variable "client_cidrs" {
  description = "Who may reach the traffic ports."
  type        = list(string)
  default     = []
}

variable "traffic_ports" {
  description = "Where clients come in (traffic.port of the specs)."
  type        = list(number)
  default     = []
}

variable "image_id" {
  description = "A Debian 12 image with cloud-init."
  type        = string
}

variable "flavor_name" {
  type = string
}

variable "network_id" {
  description = "The network of the region's servers."
  type        = string
}

variable "server_cidrs" {
  description = "Whose servers fetch their packages from the agent."
  type        = list(string)
}

variable "volume_gib" {
  description = "The agent's disk, which holds its state and the packages of its servers."
  type        = number
  default     = 20
}

variable "uses_octavia" {
  description = "Whether the agent may change load balancers."
  type        = bool
  default     = false
}

variable "uses_ports" {
  description = "Whether the agent may give back ports of yours (openstack.ports)."
  type        = bool
  default     = false
}

variable "uses_floating_ips" {
  description = "Whether the agent may make floating addresses (openstack.floating_ip_pool)."
  type        = bool
  default     = false
}

variable "uses_volumes" {
  description = "Whether the agent may see, mark and remove volumes (openstack.volume_size)."
  type        = bool
  default     = false
}

variable "paths" {
  description = "The paths of the services' endpoints, as this cloud's catalogue has them."
  type        = map(string)
  default = {
    compute       = "/v2.1"
    image         = "/v2"
    network       = "/v2.0"
    load-balancer = "/v2/lbaas"
    block-storage = "/v3/*"
  }
}
