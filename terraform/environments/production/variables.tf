variable "redis_password" {
  description = "The password of Redis, by TF_VAR_redis_password."
  type        = string
  sensitive   = true
}

variable "gateway_address" {
  description = "The load balancer that the gateway got, once there is one: `kubectl get gateway library`."
  type        = string
  default     = ""
}

variable "operators_mail" {
  description = "Who is told of alarms and of the bill."
  type        = string
}
