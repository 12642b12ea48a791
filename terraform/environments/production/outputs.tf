output "cluster" {
  description = "For `aws eks update-kubeconfig --name`."
  value       = module.cluster.name
}

output "role_arns" {
  description = "For the annotations of the overlay's service accounts."
  value       = module.cluster.role_arns
}

output "database" {
  description = "For the secret database_url."
  value       = module.database.address
}

output "database_replicas" {
  description = "For the secret database_replica_url."
  value       = module.database.replica_addresses
}

output "database_password_secret" {
  description = "Where the master's password is."
  value       = module.database.password_secret_arn
}

output "redis" {
  description = "For the secret redis_url."
  value       = module.cache.address
}

output "bucket" {
  description = "For the secret storage_url."
  value       = module.storage.bucket
}

output "file_system" {
  description = "For the StorageClass `efs`."
  value       = module.storage.file_system_id
}

output "name_servers" {
  description = "What the registrar of the domain must name."
  value       = module.dns.name_servers
}
