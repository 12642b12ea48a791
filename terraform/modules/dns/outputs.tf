output "certificate_arn" {
  description = "The certificate, once it is proven."
  value       = aws_acm_certificate_validation.this.certificate_arn
}

output "name_servers" {
  description = "What the registrar of the domain must name."
  value       = aws_route53_zone.this.name_servers
}
