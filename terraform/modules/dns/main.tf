# The zone, who may make certificates for it, and one of the cloud's own for a CDN or load balancer in front.
resource "aws_route53_zone" "this" {
  name = var.domain
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_route53_record" "caa" {
  zone_id = aws_route53_zone.this.zone_id
  name    = var.domain
  type    = "CAA"
  ttl     = 3600
  records = ["0 issue \"letsencrypt.org\"", "0 issue \"amazon.com\""]
}

resource "aws_route53_record" "host" {
  count   = var.target == "" ? 0 : 1
  zone_id = aws_route53_zone.this.zone_id
  name    = var.host
  type    = "CNAME"
  ttl     = 300
  records = [var.target]
}

resource "aws_acm_certificate" "this" {
  domain_name       = var.host
  validation_method = "DNS"
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  for_each = {
    for each in aws_acm_certificate.this.domain_validation_options : each.domain_name => each
  }
  zone_id         = aws_route53_zone.this.zone_id
  name            = each.value.resource_record_name
  type            = each.value.resource_record_type
  ttl             = 300
  records         = [each.value.resource_record_value]
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = aws_acm_certificate.this.arn
  validation_record_fqdns = [for record in aws_route53_record.proof : record.fqdn]
}
