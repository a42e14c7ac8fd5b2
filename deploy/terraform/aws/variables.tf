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

variable "ami_id" {
  description = "Debian 12, pinned by id."
  type        = string
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "subnet_id" {
  description = "A subnet with a way out: the agent has no public address."
  type        = string
}

variable "volume_gib" {
  type    = number
  default = 20
}

variable "server_cidrs" {
  description = "Whose instances fetch their packages from the agent."
  type        = list(string)
}
