output "bucket" {
  description = "For the secret storage_url: s3://BUCKET/files?region=…"
  value       = aws_s3_bucket.this["files"].bucket
}

output "bucket_arn" {
  description = "For the role of the service."
  value       = aws_s3_bucket.this["files"].arn
}

output "log_bucket_arn" {
  description = "Where the network's log goes."
  value       = aws_s3_bucket.this["logs"].arn
}

output "file_system_id" {
  description = "For the StorageClass `efs`."
  value       = aws_efs_file_system.imports.id
}

output "cdn_domain" {
  description = "What the host points to, if there is a CDN."
  value       = one(aws_cloudfront_distribution.this[*].domain_name)
}
