// The keys at the top level of the language, for the process as a whole.

#include "config/schema.hpp"

namespace weir::config {
namespace {

constexpr Key keys[] = {
    {.path = "version",
     .type = Type::count,
     .least = 1,
     .most = 1,
     .required = true,
     .help = "The version of the configuration language: 1.",
     .set = [](Target& at,
               const Value& value) { at.config.version = static_cast<int>(value.integer); }},
    {.path = "include",
     .type = Type::path,
     .many = Many::list,
     .standard = "[]",
     .help = "Files whose tls, listeners and upstreams are added to those of this file; patterns "
             "such as conf.d/*.yaml."},
    {.path = "watch",
     .type = Type::boolean,
     .standard = "false",
     .help = "Reload by itself when a file that was read changes.",
     .set = [](Target& at, const Value& value) { at.config.watch = value.flag; }},
    {.path = "sandbox",
     .type = Type::choice,
     .words = "on|off",
     .later = "on",
     .standard = "off",
     .help = "After start: no new privileges, Landlock, seccomp."},
    {.path = "workers",
     .type = Type::count,
     .words = "auto",
     .standard = "auto",
     .least = 1,
     .most = 1024,
     .help = "Threads, with one event loop each; auto = the CPUs this process may use.",
     .set = [](Target& at, const Value& value) { at.config.workers = value.count(); }},

    {.path = "limits", .help = "Limits of the whole process, strict across workers."},
    {.path = "limits.connections",
     .type = Type::count,
     .standard = "0",
     .zero = "what RLIMIT_NOFILE allows",
     .help = "Open client connections.",
     .set = [](Target& at, const Value& value) { at.config.limits.connections = value.count(); }},
    {.path = "limits.handshakes",
     .type = Type::count,
     .standard = "512",
     .least = 1,
     .help = "TLS handshakes in progress at once; the rest wait in the accept queue.",
     .set = [](Target& at, const Value& value) { at.config.limits.handshakes = value.count(); }},

    {.path = "drain", .help = "What happens after SIGTERM."},
    {.path = "drain.delay",
     .type = Type::duration,
     .standard = "0s",
     .zero = "no delay",
     .help = "How long to keep accepting with readiness already false.",
     .set = [](Target& at, const Value& value) { at.config.drain.delay = value.duration(); }},
    {.path = "drain.timeout",
     .type = Type::duration,
     .standard = "30s",
     .zero = "do not wait",
     .help = "How long to wait for sessions to end once accepting has stopped.",
     .set = [](Target& at, const Value& value) { at.config.drain.timeout = value.duration(); }},

    {.path = "log", .help = "The operational log, on standard error."},
    {.path = "log.level",
     .type = Type::choice,
     .words = "trace|debug|info|warn|error",
     .standard = "info",
     .help = "The least important level that is written.",
     .set = [](Target& at, const Value& value) { at.config.log.level = value.as<LogLevel>(); }},
    {.path = "log.format",
     .type = Type::choice,
     .words = "text|json",
     .standard = "text",
     .help = "One line of text, or one JSON object per message.",
     .set = [](Target& at, const Value& value) { at.config.log.format = value.as<LogFormat>(); }},

    {.path = "access_log", .off_is = "path", .help = "One record per session."},
    {.path = "access_log.path",
     .type = Type::path,
     .words = "off|stdout|stderr",
     .standard = "stdout",
     .help = "off, stdout, stderr or a file, which is reopened on SIGHUP and SIGUSR1.",
     .set = [](Target& at, const Value& value) { at.config.access_log.path = value.text; }},
    {.path = "access_log.format",
     .type = Type::choice,
     .words = "text|json",
     .standard = "json",
     .help = "One line of text, or one JSON object per session.",
     .set = [](Target& at,
               const Value& value) { at.config.access_log.format = value.as<LogFormat>(); }},

    {.path = "admin",
     .off_is = "bind",
     .help = "The operators' listener: /metrics, /healthz, /readyz, /status."},
    {.path = "admin.bind",
     .type = Type::address,
     .words = "off",
     .standard = "127.0.0.1:9180",
     .help = "ip:port, [ip6]:port, unix:/path or off.",
     .set =
         [](Target& at, const Value& value) {
           at.config.admin.bind.reset();
           if (value.word < 0) at.config.admin.bind = value.address;
           at.config.admin.place = value.place;
         }},
    {.path = "admin.token_file",
     .type = Type::path,
     .supported = false,
     .help = "A file with the token that gives authority to change things over TCP."},
    {.path = "admin.connection_metrics",
     .type = Type::count,
     .standard = "0",
     .zero = "no figures of single connections",
     .supported = false,
     .harmless = "0",
     .help = "How many connections get metrics of their own."},
};

}  // namespace

std::span<const Key> process_keys() {
  return keys;
}

}  // namespace weir::config
