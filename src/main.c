/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunportd
 *
 * Reads its options, makes the service and its face on a bus, runs the main
 * loop, and takes all down in reverse when it is told to stop. What it does
 * with systemd is in control/systemd.c; without systemd nothing here differs.
 *
 * Stopping has a time limit: a device that answers no more must not keep the
 * process alive for ever. A second signal ends it at once.
 *
 * Where the service is to stay away initiators are asked to log out first. At a
 * restart they are not: it is over sooner than they would be back. Without
 * systemd nobody knows which of both it is, so it has to be asked for.
 */

#include <errno.h>
#include <glib-unix.h>
#include <glib.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "bus/bus.h"
#include "control/service.h"
#include "model/schema.h"
#include "util/address.h"
#include "util/error.h"
#include "util/log.h"
#include "util/name.h"
#include "util/size.h"

#define STATE_DIR         "/var/lib/lunport"
#define CONFIG_DIR        "/etc/lunport"
#define STOP_SECONDS      20
#define LOGOUT_SECONDS    3
#define LOGOUT_MAX        60
#define DEFAULT_DISK_NAME "disk1"
#define EXIT_USAGE        2
#define CONTROL_NICE      10

typedef struct {
    char *bus;
    char *config_dir;
    char *state_dir;
    char **listen;
    char *default_disk;
    char *log_level;
    int n_workers;
    int logout_timeout; /* s; -1: not given */
    gboolean print_options;
    gboolean version;
} Options;

typedef struct {
    const Options *options;
    GMainLoop *loop;
    Service *service;
    Bus *bus;
    gboolean bus_had_name;
    gboolean is_asking; /* systemd, what is to become of the service */
    gboolean stopping;
    gboolean is_waiting; /* for initiators to log out */
    int exit_status;
} Daemon;

static void
on_stopped(gpointer object, const GError *error, gpointer data)
{
    Daemon *daemon = data;

    g_main_loop_quit(daemon->loop);
}

static gboolean
on_stop_time(gpointer data)
{
    g_critical("The service did not stop in time, probably because storage does not answer");
    _exit(EXIT_FAILURE);
}

/* @logout_seconds: how long initiators have to log out, 0: they are not asked */
static void
stop_asking(Daemon *daemon, guint logout_seconds)
{
    if (daemon->stopping)
        return;

    daemon->stopping = TRUE;
    daemon->is_waiting = logout_seconds > 0;
    (void)g_timeout_add_seconds(STOP_SECONDS + logout_seconds, on_stop_time, daemon);
    service_stop_asking(daemon->service, logout_seconds, on_stopped, daemon);
}

static void
stop(Daemon *daemon, int exit_status)
{
    daemon->exit_status = MAX(daemon->exit_status, exit_status);
    stop_asking(daemon, 0);
}

/*
 * The disk of --default-disk
 */

/* "PATH,SIZE" as a backstore; a file that is there already is taken as it is */
static BackstoreSpec *
parse_default_disk(const char *text, GError **ret_error)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", DEFAULT_DISK_NAME);
    const char *comma = strrchr(text, ',');
    g_autofree char *path = g_strndup(text, comma != NULL ? (gsize)(comma - text) : strlen(text));

    g_free(spec->path);
    spec->path = g_canonicalize_filename(path, NULL);
    spec->create = !g_file_test(spec->path, G_FILE_TEST_EXISTS);
    if (comma == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "--default-disk takes PATH,SIZE and not “%s”", text);
        return NULL;
    }
    if (!size_parse(comma + 1, &spec->size, ret_error))
        return NULL;
    if (!spec->create)
        spec->size = 0;
    return g_steal_pointer(&spec);
}

static char *
default_target_name(void)
{
    g_autofree char *prefix = name_default_target_prefix();

    return g_strconcat(prefix, ".", DEFAULT_DISK_NAME, NULL);
}

/* Once it has been told to stop, what it cannot do any more is no failure */
static void
fail(Daemon *daemon, const GError *error)
{
    if (daemon->stopping)
        return;
    g_critical("%s", error->message);
    stop(daemon, EXIT_FAILURE);
}

static const ModelPortal *
first_portal(const Model *model)
{
    const ModelPortalGroup *group =
        model->portal_groups->len > 0 ? model->portal_groups->pdata[0] : NULL;

    return group != NULL && group->portals->len > 0 ? group->portals->pdata[0] : NULL;
}

/* The line that scripts wait for */
static void
print_url(const Daemon *daemon)
{
    const ModelPortal *portal = first_portal(service_get_model(daemon->service));
    g_autofree char *target = default_target_name();
    const char *host = portal != NULL ? portal->address : "*";
    guint port = portal != NULL ? portal->port : ISCSI_PORT;

    if (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    (void)printf(strchr(host, ':') != NULL ? "iscsi://[%s]:%u/%s/0\n" : "iscsi://%s:%u/%s/0\n",
                 host, port, target);
    (void)fflush(stdout);
}

static void
on_default_target(gpointer object, const GError *error, gpointer data)
{
    Daemon *daemon = data;

    if (error != NULL)
        fail(daemon, error);
    else
        print_url(daemon);
}

static void
make_default_target(Daemon *daemon)
{
    g_autofree char *name = default_target_name();
    g_autoptr(TargetSpec) spec = target_spec_new(name);
    ChangeOptions options;

    if (model_find_target(service_get_model(daemon->service), name) != NULL) {
        print_url(daemon);
        return;
    }

    change_options_init(&options);
    options.persist = FALSE;
    spec->enabled = TRUE;
    g_free(spec->access_mode);
    spec->access_mode = g_strdup("open");
    target_spec_take_lun(spec, lun_spec_new(0, DEFAULT_DISK_NAME));
    service_create_target(daemon->service, spec, &options, on_default_target, daemon);
}

static void
on_default_backstore(gpointer object, const GError *error, gpointer data)
{
    Daemon *daemon = data;

    if (error != NULL)
        fail(daemon, error);
    else
        make_default_target(daemon);
}

/* The same file is the same disk after the next start, although nothing is kept of it */
static void
set_uuid_from_path(BackstoreSpec *spec)
{
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, spec->path, -1);

    g_free(spec->uuid);
    spec->uuid = g_strdup_printf("%.8s-%.4s-4%.3s-8%.3s-%.12s", digest, digest + 8, digest + 12,
                                 digest + 15, digest + 18);
}

static void
make_default_disk(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BackstoreSpec) spec = parse_default_disk(daemon->options->default_disk, &error);
    ChangeOptions options;

    if (spec == NULL) {
        fail(daemon, error);
        return;
    }
    if (model_find_backstore(service_get_model(daemon->service), DEFAULT_DISK_NAME) != NULL) {
        make_default_target(daemon);
        return;
    }

    change_options_init(&options);
    options.persist = FALSE;
    set_uuid_from_path(spec);
    service_create_backstore(daemon->service, spec, &options, on_default_backstore, daemon);
}

/*
 * Running and stopping
 */

static void
on_started(gpointer object, const GError *error, gpointer data)
{
    Daemon *daemon = data;

    if (error != NULL)
        fail(daemon, error);
    else if (daemon->options->default_disk != NULL)
        make_default_disk(daemon);
}

static void
on_stop_job(gpointer data, gboolean is_stop)
{
    Daemon *daemon = data;
    int given = daemon->options->logout_timeout;

    daemon->is_asking = FALSE;
    stop_asking(daemon, is_stop ? (guint)(given >= 0 ? given : LOGOUT_SECONDS) : 0);
}

static void
begin_to_stop(Daemon *daemon)
{
    int given = daemon->options->logout_timeout;

    if (given != 0 && daemon->bus != NULL && g_getenv("NOTIFY_SOCKET") != NULL) {
        daemon->is_asking = TRUE;
        bus_ask_stop_job(daemon->bus, on_stop_job, daemon);
    } else {
        stop_asking(daemon, (guint)MAX(given, 0));
    }
}

/* The second signal ends the wait for initiators; if that has ended, the process */
static gboolean
on_terminate(gpointer data)
{
    Daemon *daemon = data;

    if (daemon->is_asking && !daemon->stopping) {
        stop(daemon, EXIT_SUCCESS);
    } else if (daemon->is_waiting) {
        daemon->is_waiting = FALSE;
        service_stop(daemon->service, on_stopped, daemon);
    } else if (daemon->stopping) {
        _exit(EXIT_FAILURE);
    } else {
        begin_to_stop(daemon);
    }
    return G_SOURCE_CONTINUE;
}

static void
on_reloaded(gpointer object, const GError *error, gpointer data)
{
    if (error != NULL)
        g_warning("Failed to reload the configuration: %s", error->message);
    (void)sd_notify(FALSE, "READY=1");
}

static gboolean
on_hangup(gpointer data)
{
    Daemon *daemon = data;

    if (daemon->stopping)
        return G_SOURCE_CONTINUE;

    (void)sd_notifyf(FALSE, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT,
                     g_get_monotonic_time());
    service_reload(daemon->service, NULL, on_reloaded, daemon);
    return G_SOURCE_CONTINUE;
}

static void
on_name_acquired(gpointer data)
{
    Daemon *daemon = data;

    daemon->bus_had_name = TRUE;
}

/* Initiators do not need the bus, so a bus that goes does not end the service */
static void
on_name_lost(gpointer data)
{
    Daemon *daemon = data;

    if (daemon->stopping)
        return;
    if (daemon->bus_had_name) {
        g_warning(
            "The connection to the bus was lost; the service goes on, but cannot be managed until it "
            "is restarted");
        return;
    }
    g_critical("The name " BUS_NAME
               " cannot be had on the bus: another service has it, or it is not allowed");
    stop(daemon, EXIT_FAILURE);
}

/*
 * Commands go before administration: what a burst of logins makes this thread and the bus do must
 * not keep a worker from its processor. Linux has a nice value for each thread, and those that are
 * there already keep theirs. Where it is not allowed nothing is lost but that.
 */
static void
give_way_to_workers(void)
{
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + CONTROL_NICE);
}

static gboolean
run(Daemon *daemon, GError **ret_error)
{
    static const BusListener listener = { .name_acquired = on_name_acquired,
                                          .name_lost = on_name_lost };
    const Options *options = daemon->options;
    const ServiceConfig config = { .state_dir = options->state_dir,
                                   .config_dir = options->config_dir,
                                   .credentials_dir = g_getenv("CREDENTIALS_DIRECTORY"),
                                   .n_workers = (guint)options->n_workers,
                                   .listen = (const char *const *)options->listen,
                                   .use_sockets = TRUE,
                                   .use_default_portal = TRUE,
                                   .use_systemd = TRUE };

    daemon->service = service_new(&config, ret_error);
    if (daemon->service == NULL)
        return FALSE;
    give_way_to_workers();

    if (strcmp(options->bus, "none") != 0) {
        g_autoptr(GError) error = NULL;

        daemon->bus = bus_new(daemon->service, options->bus, &listener, daemon, &error);
        if (daemon->bus == NULL)
            fail(daemon, error);
    }
    if (!daemon->stopping)
        service_start(daemon->service, on_started, daemon);
    g_main_loop_run(daemon->loop);

    g_clear_pointer(&daemon->bus, bus_free);
    g_clear_pointer(&daemon->service, service_free);
    return TRUE;
}

/*
 * Options and the process
 */

static gboolean
parse_log_level(const char *text, int *ret_level, GError **ret_error)
{
    static const char *const words[] = { "emerg",   "alert",  "crit", "err",
                                         "warning", "notice", "info", "debug" };

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) != 0 && (text[0] != (char)('0' + i) || text[1] != '\0'))
            continue;
        *ret_level = (int)i;
        return TRUE;
    }

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "“%s” is not a log level: use err, warning, notice, info or debug", text);
    return FALSE;
}

/* A directory that systemd made for us; of several the first */
static char *
directory_from_environment(const char *variable, const char *otherwise)
{
    const char *value = g_getenv(variable);

    if (value == NULL || value[0] == '\0')
        return g_strdup(otherwise);
    return g_strndup(value, strcspn(value, ":"));
}

static void
apply_defaults(Options *options)
{
    if (options->bus == NULL)
        options->bus = g_strdup("system");
    if (options->state_dir == NULL)
        options->state_dir = directory_from_environment("STATE_DIRECTORY", STATE_DIR);
    if (options->config_dir == NULL)
        options->config_dir = directory_from_environment("CONFIGURATION_DIRECTORY", CONFIG_DIR);
    if (options->log_level == NULL)
        options->log_level = g_strdup("info");
}

static gboolean
check_options(const Options *options, int argc, GError **ret_error)
{
    Address address;

    if (argc > 1) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                            "There are no arguments, only options");
        return FALSE;
    }
    if (options->n_workers < 0 || options->n_workers > 64) {
        g_set_error_literal(
            ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
            "--workers goes from 0 (as many as there are processors, at most 8) to 64");
        return FALSE;
    }
    if (options->logout_timeout < -1 || options->logout_timeout > LOGOUT_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "--logout-timeout goes from 0 (do not ask initiators) to %d seconds",
                    LOGOUT_MAX);
        return FALSE;
    }
    if (options->default_disk != NULL) {
        g_autoptr(BackstoreSpec) spec = parse_default_disk(options->default_disk, ret_error);

        if (spec == NULL)
            return FALSE;
    }
    for (guint i = 0; options->listen != NULL && options->listen[i] != NULL; i++) {
        if (!address_parse(options->listen[i], ISCSI_PORT, &address, ret_error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
parse_options(Options *options, int *argc, char ***argv, GError **ret_error)
{
    const GOptionEntry entries[] = {
        { "bus", 0, 0, G_OPTION_ARG_STRING, &options->bus,
          "Bus to serve: system (default), session, an address, or none", "BUS" },
        { "config-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->config_dir,
          "Files written by hand, only read (default: " CONFIG_DIR ")", "DIR" },
        { "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->state_dir,
          "Files written by the service (default: " STATE_DIR ")", "DIR" },
        { "listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->listen,
          "Listen here too; may be given more than once (default: *:3260 when there is no socket unit, "
          "no other --listen and no portal in the configuration)",
          "ADDR[:PORT]" },
        { "workers", 0, 0, G_OPTION_ARG_INT, &options->n_workers,
          "Number of worker threads (default: one a processor, at most 8)", "N" },
        { "default-disk", 0, 0, G_OPTION_ARG_FILENAME, &options->default_disk,
          "Export this sparse file to everybody until the service stops; it is made when it is not there",
          "PATH,SIZE" },
        { "logout-timeout", 0, 0, G_OPTION_ARG_INT, &options->logout_timeout,
          "Before the service ends ask initiators to log out, and wait for them so long "
          "(default: 3 when systemd stops the service for good, else 0)",
          "SECONDS" },
        { "log-level", 0, 0, G_OPTION_ARG_STRING, &options->log_level,
          "What to log: err, warning, notice, info (default) or debug", "LEVEL" },
        { "print-options", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &options->print_options,
          "Print the keys of configuration files", NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- iSCSI target service");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, ret_error))
        return FALSE;

    apply_defaults(options);
    return check_options(options, *argc, ret_error);
}

static void
clear_options(Options *options)
{
    g_free(options->bus);
    g_free(options->config_dir);
    g_free(options->state_dir);
    g_strfreev(options->listen);
    g_free(options->default_disk);
    g_free(options->log_level);
}

static void
prepare_process(void)
{
    struct rlimit limit;

    (void)umask(0077);
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    /* The data plane allocates at login and not after; one arena a thread would only cost memory */
    (void)mallopt(M_ARENA_MAX, 2);
}

static int
run_daemon(const Options *options)
{
    Daemon daemon = { .options = options };
    g_autoptr(GError) error = NULL;

    daemon.loop = g_main_loop_new(NULL, FALSE);
    (void)g_unix_signal_add(SIGTERM, on_terminate, &daemon);
    (void)g_unix_signal_add(SIGINT, on_terminate, &daemon);
    (void)g_unix_signal_add(SIGHUP, on_hangup, &daemon);
    if (!run(&daemon, &error)) {
        g_critical("%s", error->message);
        daemon.exit_status = EXIT_FAILURE;
    }

    g_main_loop_unref(daemon.loop);
    return daemon.exit_status;
}

static int
print_options(void)
{
    g_autofree char *table = schema_format_table();

    (void)fputs(table, stdout);
    return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    Options options = { .logout_timeout = -1 };
    g_autoptr(GError) error = NULL;
    int level;
    int status;

    if (!parse_options(&options, &argc, &argv, &error) ||
        !parse_log_level(options.log_level, &level, &error)) {
        (void)fprintf(stderr, "lunportd: %s\n", error->message);
        status = EXIT_USAGE;
    } else if (options.version) {
        (void)printf("lunportd %s\n", LUNPORT_VERSION);
        status = EXIT_SUCCESS;
    } else if (options.print_options) {
        status = print_options();
    } else {
        prepare_process();
        log_init(level);
        status = run_daemon(&options);
    }

    clear_options(&options);
    return status;
}
