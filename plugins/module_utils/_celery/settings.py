# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of Celery's settings, those of Celery 5.4 to 5.7 together."""

from __future__ import annotations

#: First word to the rest of the name.
_REST = {
    "accept": ("content"),
    "arangodb": ("backend_settings"),
    "azureblockblob": (
        "base_path connection_timeout container_name read_timeout retry_increment_base retry_initial_backoff_sec "
        "retry_max_attempts"
    ),
    "beat": (
        "cron_starting_deadline enable_remote_control max_loop_interval remote_control_max_tick_age schedule "
        "schedule_filename scheduler sync_every"
    ),
    "broker": (
        "channel_error_retry connection_max_retries connection_retry connection_retry_on_startup connection_timeout "
        "failover_strategy heartbeat heartbeat_checkrate host login_method native_delayed_delivery_queue_type "
        "password pool_acquire_timeout pool_limit port read_url transport transport_options url use_ssl user vhost "
        "write_url"
    ),
    "cache": ("backend backend_options"),
    "cassandra": (
        "auth_kwargs auth_provider bundle_path entry_ttl keyspace options port read_consistency servers table "
        "write_consistency"
    ),
    "control": ("exchange queue_durable queue_exclusive queue_expires queue_ttl"),
    "cosmosdbsql": ("collection_name consistency_level database_name max_retry_attempts max_retry_wait_time"),
    "couchbase": ("backend_settings"),
    "database": (
        "create_tables_at_setup engine_callback engine_options short_lived_sessions table_names table_schemas url"
    ),
    "dynamodb": ("endpoint_url"),
    "elasticsearch": ("max_retries retry_on_timeout save_meta_as_text timeout"),
    "enable": ("utc"),
    "event": ("exchange queue_durable queue_exclusive queue_expires queue_prefix queue_ttl serializer"),
    "firestore": ("project"),
    "gcs": ("base_path bucket project threadpool_maxsize ttl"),
    "mongodb": ("backend_settings"),
    "redis": (
        "backend_credential_provider backend_health_check_interval backend_use_ssl client_name db host "
        "max_connections password port retry_on_timeout socket_connect_timeout socket_keepalive socket_timeout "
        "username"
    ),
    "result": (
        "accept_content backend backend_always_retry backend_base_sleep_between_retries_ms backend_max_retries "
        "backend_max_sleep_between_retries_ms backend_thread_safe backend_transport_options cache_max chord_expires "
        "chord_join_timeout chord_ordered chord_retry_interval compression exchange exchange_type expires extended "
        "failure_expires persistent serializer"
    ),
    "s3": ("access_key_id base_path bucket endpoint_url region secret_access_key"),
    "security": ("cert_store certificate digest key key_password"),
    "task": (
        "acks_late acks_on_failure acks_on_failure_or_timeout acks_on_timeout allow_error_cb_on_chord_header "
        "always_eager annotations compression create_missing_queue_exchange_type create_missing_queue_type "
        "create_missing_queues default_delivery_mode default_exchange default_exchange_type default_priority "
        "default_queue default_queue_type default_rate_limit default_routing_key eager_propagates ignore_result "
        "inherit_parent_priority protocol publish_retry publish_retry_policy queue_max_priority queues "
        "reject_on_worker_lost remote_tracebacks repr_maxlevels retry_on_worker_lost routes send_sent_event "
        "serializer soft_time_limit store_eager_result store_errors_even_if_ignored time_limit track_started"
    ),
    "worker": (
        "agent autoscaler cancel_long_running_tasks_on_connection_loss concurrency consumer "
        "deduplicate_successful_tasks detect_quorum_queues direct disable_prefetch disable_rate_limits "
        "enable_prefetch_count_reduction enable_remote_control enable_soft_shutdown_on_idle eta_task_limit "
        "hijack_root_logger log_color log_datefmt log_format lost_wait max_memory_per_child max_tasks_per_child "
        "pool pool_putlocks pool_restarts pool_start_method prefetch_multiplier proc_alive_timeout redirect_stdouts "
        "redirect_stdouts_level send_task_events soft_shutdown_timeout state_db task_log_datefmt task_log_format "
        "timer timer_precision"
    ),
}

SETTINGS = frozenset(f"{first}_{rest}" for first, names in _REST.items() for rest in names.split())

#: Names of before Celery 4, in lower case, that no rule leads from to the name of today.
_RENAMED = {
    "celeryd_task_soft_time_limit": "task_soft_time_limit",
    "celeryd_task_time_limit": "task_time_limit",
    "celeryd_worker_lost_wait": "worker_lost_wait",
    "celery_disable_rate_limits": "worker_disable_rate_limits",
    "celery_eager_propagates_exceptions": "task_eager_propagates",
    "celery_enable_remote_control": "worker_enable_remote_control",
    "celery_max_cached_results": "result_cache_max",
    "celery_message_compression": "task_compression",
    "celery_redirect_stdouts": "worker_redirect_stdouts",
    "celery_redirect_stdouts_level": "worker_redirect_stdouts_level",
    "celery_result_dburi": "database_url",
    "celery_result_db_short_lived_sessions": "database_short_lived_sessions",
    "celery_result_db_tablenames": "database_table_names",
    "celery_result_engine_options": "database_engine_options",
    "celery_send_events": "worker_send_task_events",
    "celery_send_task_sent_event": "task_send_sent_event",
    "celery_task_result_expires": "result_expires",
}

#: What names of before Celery 4 begin with, and what those of today do.
_BEGINNINGS = (("celeryd_", "worker_"), ("celerybeat_", "beat_"), ("celery_", "task_"), ("celery_", ""))


def name_of_today(name: str) -> str | None:
    """What a setting is called since Celery 4, where it was written as before or with Django's prefix.

    :param name: in lower case, with underscores.
    """
    if name in _RENAMED:
        return _RENAMED[name]
    for before, now in _BEGINNINGS:
        if name.startswith(before) and now + name.removeprefix(before) in SETTINGS:
            return now + name.removeprefix(before)
    return None
