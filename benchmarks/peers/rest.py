"""Django REST framework, the books in memory: a view, nested serializers, JSON alone, no debugging, no sessions."""

import json
import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY="only-for-a-benchmark",  # noqa: S106  # it signs nothing
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

# Django's parts can be imported only when it is set up.
from django.core.wsgi import get_wsgi_application  # noqa: E402  # the same
from django.urls import path  # noqa: E402  # the same
from rest_framework import serializers  # noqa: E402  # the same
from rest_framework.response import Response  # noqa: E402  # the same
from rest_framework.views import APIView  # noqa: E402  # the same


class Contributor(serializers.Serializer):
    name = serializers.CharField()
    role = serializers.CharField()


class Classification(serializers.Serializer):
    scheme = serializers.CharField()
    value = serializers.CharField()


class Original(serializers.Serializer):
    field = serializers.CharField()
    value = serializers.CharField()


class Identifier(serializers.Serializer):
    type = serializers.CharField()
    value = serializers.CharField()
    normalized = serializers.CharField(allow_null=True)
    valid = serializers.BooleanField()


class Book(serializers.Serializer):
    id = serializers.IntegerField()
    version = serializers.IntegerField()
    title = serializers.CharField()
    subtitle = serializers.CharField(allow_null=True)
    sort_title = serializers.CharField(allow_null=True)
    alternative_titles = serializers.ListField(child=serializers.CharField())
    original_script = Original(many=True)
    contributors = Contributor(many=True)
    edition = serializers.CharField(allow_null=True)
    publisher = serializers.CharField(allow_null=True)
    place = serializers.CharField(allow_null=True)
    year = serializers.IntegerField(allow_null=True)
    date = serializers.CharField(allow_null=True)
    languages = serializers.ListField(child=serializers.CharField())
    summary = serializers.CharField(allow_null=True)
    physical_description = serializers.CharField(allow_null=True)
    series = serializers.ListField(child=serializers.CharField())
    identifiers = Identifier(many=True)
    classifications = Classification(many=True)
    subjects = serializers.ListField(child=serializers.CharField())
    suppressed = serializers.BooleanField()
    created_at = serializers.CharField()
    updated_at = serializers.CharField()


class Page(serializers.Serializer):
    items = Book(many=True)
    next = serializers.CharField(allow_null=True)


_page = json.loads(Path(os.environ["BENCH_BODY"]).read_bytes())


class Books(APIView):
    def get(self, _request: Any) -> Any:
        return Response(Page(_page).data)


urlpatterns = [path("books", Books.as_view())]
app = get_wsgi_application()
