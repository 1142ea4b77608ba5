# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that describe a fleet."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared by all modules that compute from an inventory."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace that the objects are for.
    type: str
    required: true
  fleet:
    description:
      - Id in the ownership labels, at most 63 characters.
      - The empty default takes O(namespace).
    type: str
    default: ""
  preset:
    description: What V(openedx) knows of services, queue names and settings, as the lowest layer.
    type: str
    default: ""
    choices: ["", openedx]
  services:
    description:
      - Service to keys, as in C(celery_workers_services). The nested keys are in the key reference of the collection.
      - No value in here may be secret. The role takes secret values out before it calls a module.
    type: dict
    default: {}
  config:
    description: Service to variant to keys, as in C(celery_workers_config).
    type: dict
    default: {}
  queue_defaults:
    description: Keys for every variant, as in C(celery_workers_queue_defaults).
    type: dict
    default: {}
  broker:
    description: The message broker, as in C(celery_workers_broker), without its password.
    type: dict
    default: {}
  explicit_queues:
    description: Service to task to C({queue}), as in C(celery_workers_explicit_queues).
    type: dict
    default: {}
  openedx_routing:
    description: Routes of the preset V(openedx) that hold beside O(explicit_queues).
    type: str
    default: ""
    choices: ["", recommended]
  openedx_release:
    description: Release of Open edX, such as V(verawood). Empty is the newest that is known.
    type: str
    default: ""
  routing_delivery:
    description: How producers get the routes, as in C(celery_workers_routing_delivery).
    type: str
    default: none
    choices: [none, tutor_plugin, settings_overlay, task_routes]
  autoscaler_conflict:
    description: What becomes of other autoscalers on our Deployments, as in C(celery_workers_autoscaler_conflict).
    type: str
    default: fail
    choices: [fail, transfer, remove]
  take_over:
    description: Whether objects that others made under one of our names become ours.
    type: bool
    default: false
  flower:
    description: Keys of Flower, as in C(celery_workers_flower), without its password.
    type: dict
    default: {}
  flower_enabled:
    description: Whether Flower is wanted.
    type: bool
    default: false
  exporter:
    description: Keys of celery-exporter, as in C(celery_workers_exporter).
    type: dict
    default: {}
  exporter_enabled:
    description: Whether the exporter is wanted.
    type: bool
    default: false
  service_monitor:
    description: How Prometheus finds Flower and the exporter, as in C(celery_workers_service_monitor).
    type: dict
    default: {}
  service_monitor_enabled:
    description: Whether Prometheus is to find them.
    type: bool
    default: false
  prometheus_rule:
    description: Keys of the alerts, as in C(celery_workers_prometheus_rule). Their thresholds stand on the variants.
    type: dict
    default: {}
  prometheus_rule_enabled:
    description: Whether alerts are wanted.
    type: bool
    default: false
  dashboard:
    description: Keys of the Grafana dashboard, as in C(celery_workers_dashboard).
    type: dict
    default: {}
  dashboard_enabled:
    description: Whether the dashboard is wanted.
    type: bool
    default: false
  prometheus:
    description: The Prometheus that scalers ask, as in C(celery_workers_prometheus). An address alone, or keys.
    type: raw
    default: {}
  output:
    description: Where the objects go. Only V(cluster) keeps credentials that are generated.
    type: str
    default: cluster
    choices: [cluster, manifests]
  versions:
    description:
      - What is installed, as far as it is known. What a version does not have is refused.
      - A version that is left empty counts as new enough. A number is refused, because YAML reads C(2.20) as 2.2.
    type: dict
    default: {}
    suboptions:
      celery:
        description: Celery in the images, such as C(5.6).
        type: raw
        default: ""
      kombu:
        description: kombu in the images, such as C(5.6.2).
        type: raw
        default: ""
      keda:
        description: KEDA in the cluster, such as C(2.20).
        type: raw
        default: ""
      kubernetes:
        description: Kubernetes of the cluster, such as C(1.36).
        type: raw
        default: ""
      rabbitmq:
        description: RabbitMQ of the broker, such as C(4.3).
        type: raw
        default: ""
      redis:
        description: Redis of the broker, such as C(7.4).
        type: raw
        default: ""
  layers:
    description:
      - Further inventory variables by name. C(celery_workers_config__50_campus) is laid over C(celery_workers_config).
      - Layers of one variable are merged in the order of their two digits, whatever the order of this list.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the variable. It appears in messages.
        type: str
        required: true
      value:
        description: Value of the variable.
        type: raw
  variable_names:
    description: Names of all C(celery_workers_*) variables that are defined; those that nothing reads are problems.
    type: list
    elements: str
    default: []
  known_variables:
    description: Names of the variables that the role has. Empty switches the check of O(variable_names) off.
    type: list
    elements: str
    default: []
"""

    OBSERVED = r"""
options:
  observed:
    description:
      - What runs now, as RV(queueops.celery.worker_info#module:observed) gives it.
      - Empty computes from the inventory alone, as for manifest files.
    type: dict
    default: {}
"""

    ROUTING = r"""
options:
  disable_hpa:
    description:
      - For O(routing_delivery) V(tutor_plugin). Whether the HPAs of tutor-contrib-pod-autoscaling are switched off for
        workers that a scaler of this collection has. Their requests and limits stay.
      - HPAs that are in the cluster must be deleted once, because C(tutor k8s start) deletes none.
    type: bool
    default: false
  redis_policy:
    description:
      - For O(routing_delivery) V(tutor_plugin). C(maxmemory-policy) of Tutor's Redis. Empty leaves Tutor's
        V(allkeys-lru), under which a full Redis throws away queues.
      - With V(volatile-lru) only keys with an expiry go, which are those of caches.
    type: str
    default: ""
    choices:
      - ""
      - allkeys-lfu
      - allkeys-lru
      - allkeys-random
      - noeviction
      - volatile-lfu
      - volatile-lru
      - volatile-random
      - volatile-ttl
"""
