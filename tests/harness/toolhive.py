"""What ToolHive 0.44 documents of the commands that exist here, too: the reference that the table test reads.

Copied from its generated documentation, with what is deprecated and hidden there.
"""

from __future__ import annotations

__all__ = ["COMMANDS", "FLAGS", "RUN_ALONE"]

COMMANDS = """
run | SERVER_OR_IMAGE_OR_PROTOCOL [-- ARGS...]
list |
ls |
status | [workload-name]
start | [workload-name]
restart | [workload-name]
stop | [workload-name...]
rm | [workload-name...]
logs | [workload-name|prune]
logs prune |
export | <workload name> <path>
inspector | [workload-name]
runtime |
runtime check |
group |
group create | [group-name]
group list |
group rm | [group-name]
group run | <group>
config |
config get-build-auth-file | [name]
config get-build-env | [KEY]
config get-ca-cert |
config get-registry |
config otel |
config otel get-enable-prometheus-metrics-path |
config otel get-endpoint |
config otel get-env-vars |
config otel get-insecure |
config otel get-metrics-enabled |
config otel get-sampling-rate |
config otel get-tracing-enabled |
config otel set-enable-prometheus-metrics-path | <enabled>
config otel set-endpoint | <endpoint>
config otel set-env-vars | <var1,var2,...>
config otel set-insecure | <enabled>
config otel set-metrics-enabled | <enabled>
config otel set-sampling-rate | <rate>
config otel set-tracing-enabled | <enabled>
config otel unset-enable-prometheus-metrics-path |
config otel unset-endpoint |
config otel unset-env-vars |
config otel unset-insecure |
config otel unset-metrics-enabled |
config otel unset-sampling-rate |
config otel unset-tracing-enabled |
config set-build-auth-file | <name> [content]
config set-build-env | <KEY> [value]
config set-ca-cert | <path>
config set-registry | <url-or-path>
config unset-build-auth-file | [name]
config unset-build-env | [KEY]
config unset-ca-cert |
config unset-registry |
config usage-metrics | <enable|disable>
proxy | SERVER_NAME
proxy stdio | WORKLOAD-NAME
proxy tunnel | TARGET SERVER_NAME
mcp |
mcp call | <tool-name>
mcp list | [tools|resources|prompts]
mcp list prompts |
mcp list resources |
mcp list tools |
serve |
version |
completion bash |
completion zsh |
completion fish |
completion powershell |
config set-registry-auth |
config unset-registry-auth |
"""
"""Each command with its positional arguments."""

RUN_ALONE = ("logs", "mcp list", "proxy")
"""Groups that do something themselves when no subcommand is named."""

FLAGS = """
run | --allow-docker-gateway | bool | false
run | --allowed-origins | stringArray | []
run | --audit-config | string |
run | --authz-config | string |
run | --build-with | stringArray | []
run | --ca-cert | string |
run | --enable-audit | bool | false
run | --endpoint-prefix | string |
run | --env -e | stringArray | []
run | --env-file | string |
run | --env-file-dir | string |
run | --foreground -f | bool | false
run | --from-config | string |
run | --group | string | "default"
run | --host | string | "127.0.0.1"
run | --ignore-globally | bool | true
run | --image-verification | string | "warn"
run | --isolate-network | bool | true
run | --jwks-allow-private-ip | bool | false
run | --jwks-auth-token-file | string |
run | --label -l | stringArray | []
run | --name | string |
run | --network | string |
run | --oidc-audience | string |
run | --oidc-client-id | string |
run | --oidc-client-secret | string |
run | --oidc-insecure-allow-http | bool | false
run | --oidc-introspection-url | string |
run | --oidc-issuer | string |
run | --oidc-jwks-url | string |
run | --oidc-scopes | strings | []
run | --otel-custom-attributes | string |
run | --otel-enable-prometheus-metrics-path | bool | false
run | --otel-endpoint | string |
run | --otel-env-vars | stringArray | []
run | --otel-headers | stringArray | []
run | --otel-insecure | bool | false
run | --otel-metrics-enabled | bool | true
run | --otel-sampling-rate | float | 0.1
run | --otel-service-name | string |
run | --otel-tracing-enabled | bool | true
run | --otel-use-legacy-attributes | bool | true
run | --permission-profile | string |
run | --print-resolved-overlays | bool | false
run | --proxy-mode | string | "streamable-http"
run | --proxy-port | int | 0
run | --publish -p | stringArray | []
run | --remote-auth | bool | false
run | --remote-auth-authorize-url | string |
run | --remote-auth-bearer-token | string |
run | --remote-auth-bearer-token-file | string |
run | --remote-auth-callback-port | int | 8666
run | --remote-auth-client-id | string |
run | --remote-auth-client-secret | string |
run | --remote-auth-client-secret-file | string |
run | --remote-auth-issuer | string |
run | --remote-auth-resource | string |
run | --remote-auth-scope-param-name | string |
run | --remote-auth-scopes | strings | []
run | --remote-auth-skip-browser | bool | false
run | --remote-auth-timeout | duration | 30s
run | --remote-auth-token-url | string |
run | --remote-forward-headers | stringArray | []
run | --remote-forward-headers-secret | stringArray | []
run | --resource-url | string |
run | --runtime-add-package | stringArray | []
run | --runtime-image | string |
run | --secret | stringArray | []
run | --session-ttl | duration | 0s
run | --stateless | bool | false
run | --strict-protocol-validation | bool | false
run | --target-host | string | "127.0.0.1"
run | --target-port | int | 0
run | --thv-ca-bundle | string |
run | --token-exchange-audience | string |
run | --token-exchange-client-id | string |
run | --token-exchange-client-secret | string |
run | --token-exchange-client-secret-file | string |
run | --token-exchange-header-name | string |
run | --token-exchange-scopes | strings | []
run | --token-exchange-subject-token-type | string |
run | --token-exchange-url | string |
run | --tools | stringArray | []
run | --tools-override | string |
run | --transport | string |
run | --trust-proxy-headers | bool | false
run | --volume -v | stringArray | []
run | --webhook-config | stringArray | []
list | --all -a | bool | false
list | --check-upgrades | bool | false
list | --format | string | "text"
list | --group | string |
list | --label -l | stringArray | []
status | --format | string | "text"
start | --all -a | bool | false
start | --foreground -f | bool | false
start | --group -g | string |
restart | --all -a | bool | false
restart | --foreground -f | bool | false
restart | --group -g | string |
stop | --all -a | bool | false
stop | --group -g | string |
stop | --timeout | int | 30
rm | --all | bool | false
rm | --group -g | string |
logs | --follow -f | bool | false
logs | --proxy -p | bool | false
export | --format | string | "json"
inspector | --mcp-proxy-port -p | int | 6277
inspector | --ui-port -u | int | 6274
runtime check | --timeout | int | 30
group rm | --with-workloads | bool | false
config get-build-auth-file | --show-content | bool | false
config set-build-auth-file | --stdin | bool | false
config set-build-env | --from-env | bool | false
config set-build-env | --from-secret | bool | false
config set-registry | --allow-private-ip -p | bool | false
config set-registry | --audience | string |
config set-registry | --client-id | string |
config set-registry | --issuer | string |
config set-registry | --scopes | strings | [openid,offline_access]
config unset-build-auth-file | --all | bool | false
config unset-build-env | --all | bool | false
proxy | --allowed-origins | stringArray | []
proxy | --host | string | "127.0.0.1"
proxy | --oidc-audience | string |
proxy | --oidc-client-id | string |
proxy | --oidc-client-secret | string |
proxy | --oidc-introspection-url | string |
proxy | --oidc-issuer | string |
proxy | --oidc-jwks-url | string |
proxy | --oidc-scopes | strings | []
proxy | --port | int | 0
proxy | --remote-auth | bool | false
proxy | --remote-auth-authorize-url | string |
proxy | --remote-auth-bearer-token | string |
proxy | --remote-auth-bearer-token-file | string |
proxy | --remote-auth-callback-port | int | 8666
proxy | --remote-auth-client-id | string |
proxy | --remote-auth-client-secret | string |
proxy | --remote-auth-client-secret-file | string |
proxy | --remote-auth-issuer | string |
proxy | --remote-auth-resource | string |
proxy | --remote-auth-scope-param-name | string |
proxy | --remote-auth-scopes | strings | []
proxy | --remote-auth-skip-browser | bool | false
proxy | --remote-auth-timeout | duration | 30s
proxy | --remote-auth-token-url | string |
proxy | --remote-forward-headers | stringArray | []
proxy | --remote-forward-headers-secret | stringArray | []
proxy | --resource-url | string |
proxy | --target-uri | string |
proxy | --token-exchange-audience | string |
proxy | --token-exchange-client-id | string |
proxy | --token-exchange-client-secret | string |
proxy | --token-exchange-client-secret-file | string |
proxy | --token-exchange-header-name | string |
proxy | --token-exchange-scopes | strings | []
proxy | --token-exchange-subject-token-type | string |
proxy | --token-exchange-url | string |
proxy tunnel | --provider-args | string | "{}"
proxy tunnel | --tunnel-provider | string |
mcp call | --args | string |
mcp call | --args-file | string |
mcp call | --format | string | "text"
mcp call | --ignore-tool-error | bool | false
mcp call | --server | string |
mcp call | --timeout | duration | 30s
mcp call | --transport | string | "auto"
mcp list | --format | string | "text"
mcp list | --server | string |
mcp list | --timeout | duration | 30s
mcp list | --transport | string | "auto"
mcp list prompts | --format | string | "text"
mcp list prompts | --server | string |
mcp list prompts | --timeout | duration | 30s
mcp list prompts | --transport | string | "auto"
mcp list resources | --format | string | "text"
mcp list resources | --server | string |
mcp list resources | --timeout | duration | 30s
mcp list resources | --transport | string | "auto"
mcp list tools | --format | string | "text"
mcp list tools | --server | string |
mcp list tools | --timeout | duration | 30s
mcp list tools | --transport | string | "auto"
serve | --host | string | "127.0.0.1"
serve | --oidc-audience | string |
serve | --oidc-client-id | string |
serve | --oidc-client-secret | string |
serve | --oidc-introspection-url | string |
serve | --oidc-issuer | string |
serve | --oidc-jwks-url | string |
serve | --oidc-scopes | strings | []
serve | --openapi | bool | false
serve | --port | int | 8080
serve | --sentry-dsn | string |
serve | --sentry-environment | string |
serve | --sentry-traces-sample-rate | float | 1
serve | --socket | string |
version | --format | string | "text"
version | --json | bool | false
completion bash | --no-descriptions | bool | false
completion zsh | --no-descriptions | bool | false
completion fish | --no-descriptions | bool | false
completion powershell | --no-descriptions | bool | false
run | --k8s-pod-patch | string |
"""
"""Each flag: its command, its spellings, its type as pflag names it, and its default."""
