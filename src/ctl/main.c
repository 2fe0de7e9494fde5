/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl: the command line of the service
 *
 * A client of the bus and nothing else: global options, a noun and a verb, and
 * the row of verbs.c that has them. Failure is one line on standard error and
 * an exit status: 1 failed, 2 usage, 3 not found, 4 not authorized.
 */

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "ctl/verbs.h"

typedef struct {
    char *bus;
    char *json;
    gboolean user;
    gboolean no_ask_password;
    gboolean no_legend;
    gboolean no_pager;
    gboolean dry_run;
    gboolean version;
    gboolean help;
    gboolean list_verbs;
} Options;

static void
print_options(const VerbOption *options)
{
    for (const VerbOption *o = options; o != NULL && o->name != NULL; o++) {
        gboolean flag = o->type == OPTION_FLAG || o->type == OPTION_FLAG_NOT;

        g_autofree char *words = g_strconcat("--", o->name, flag ? "" : "=…", NULL);

        (void)printf("      %s%*s %s\n", words, (int)(26 - g_utf8_strlen(words, -1)), "", o->help);
    }
}

static char *
verb_words(const Verb *verb)
{
    return g_strconcat(verb->noun, verb->verb != NULL ? " " : "",
                       verb->verb != NULL ? verb->verb : "", " ", verb->arguments, NULL);
}

/* @noun, @verb: print only what they name, with its options; NULL: everything, without */
static gboolean
print_help(GOptionContext *context, const char *noun, const char *verb)
{
    g_autofree char *options = g_option_context_get_help(context, TRUE, NULL);
    guint n_shown = 0;
    gsize n_verbs;
    const Verb *verbs = verbs_get(&n_verbs);

    (void)fputs(options, stdout);
    (void)puts("Commands:");
    for (gsize i = 0; i < n_verbs; i++) {
        g_autofree char *words = verb_words(&verbs[i]);

        if ((noun != NULL && strcmp(verbs[i].noun, noun) != 0) ||
            (verb != NULL && verbs[i].verb != NULL && strcmp(verbs[i].verb, verb) != 0))
            continue;
        (void)printf("  %s%*s %s\n", words, (int)(34 - g_utf8_strlen(words, -1)), "",
                     verbs[i].help);
        if (noun != NULL)
            print_options(verbs[i].options);
        n_shown++;
    }
    return n_shown > 0;
}

/* For completion and tests: every verb with its options, a line each */
static void
list_verbs(void)
{
    gsize n_verbs;
    const Verb *verbs = verbs_get(&n_verbs);

    for (gsize i = 0; i < n_verbs; i++) {
        (void)printf("%s %s", verbs[i].noun, verbs[i].verb != NULL ? verbs[i].verb : "-");
        for (const VerbOption *o = verbs[i].options; o != NULL && o->name != NULL; o++)
            (void)printf(" --%s%s", o->name,
                         o->type == OPTION_FLAG || o->type == OPTION_FLAG_NOT ? "" : "=");
        (void)putchar('\n');
    }
}

/*
 * Split at the first word that is no option: global options stand before or
 * after the verb, so both halves are searched for them; GOption leaves what it
 * does not know.
 */
static gboolean
parse_global(GOptionContext *context, Options *options, int *argc, char ***argv, GError **ret_error)
{
    const GOptionEntry entries[] = {
        { "bus", 0, 0, G_OPTION_ARG_STRING, &options->bus, "system, session or a D-Bus address",
          "BUS" },
        { "user", 0, 0, G_OPTION_ARG_NONE, &options->user, "The same as --bus=session", NULL },
        { "json", 0, 0, G_OPTION_ARG_STRING, &options->json, "short, pretty or off", "MODE" },
        { "no-ask-password", 0, 0, G_OPTION_ARG_NONE, &options->no_ask_password,
          "Never ask for a password", NULL },
        { "no-legend", 0, 0, G_OPTION_ARG_NONE, &options->no_legend, "No headings", NULL },
        { "no-pager", 0, 0, G_OPTION_ARG_NONE, &options->no_pager, "No pager", NULL },
        { "dry-run", 0, 0, G_OPTION_ARG_NONE, &options->dry_run, "Check everything, change nothing",
          NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
        { "help", 'h', 0, G_OPTION_ARG_NONE, &options->help, "Print this help", NULL },
        { "list-verbs", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &options->list_verbs, NULL,
          NULL },
        { 0 },
    };

    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_ignore_unknown_options(context, TRUE);
    return g_option_context_parse(context, argc, argv, ret_error);
}

static gboolean
set_output(Output *output, const Options *options, GError **ret_error)
{
    output->mode = OUTPUT_TABLE;
    output->legend = !options->no_legend;
    output->pager = !options->no_pager;
    if (options->json == NULL || output_mode_parse(options->json, &output->mode))
        return TRUE;

    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "“%s” is not a JSON mode: short, pretty or off", options->json);
    return FALSE;
}

static const char *
choose_bus(const Options *options)
{
    const char *environment = g_getenv("LUNPORT_BUS");

    if (options->user)
        return "session";
    if (options->bus != NULL)
        return options->bus;
    return environment != NULL && environment[0] != '\0' ? environment : "system";
}

/* What is typed becomes texts on the bus */
static gboolean
check_words(char **argv, GError **ret_error)
{
    for (int i = 1; argv[i] != NULL; i++) {
        if (g_utf8_validate(argv[i], -1, NULL))
            continue;
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "Word %d of the command line is not UTF-8", i);
        return FALSE;
    }
    return TRUE;
}

static gboolean
run_verb(const Options *options, int argc, char **argv, GError **ret_error)
{
    const Verb *verb = verbs_find(argv[1], argc > 2 ? argv[2] : NULL);
    Ctl ctl = { 0 };
    int words;
    gboolean ok;

    if (argv[1][0] == '-') {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION, "Unknown option “%s”",
                    argv[1]);
        return FALSE;
    }
    if (verb == NULL) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "Unknown command “%s%s%s”; “lunctl --help” lists them", argv[1],
                    argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
        return FALSE;
    }

    words = verb->verb != NULL ? 3 : 2;
    ctl.argc = argc - words;
    ctl.argv = argv + words;
    ctl.client.interactive = !options->no_ask_password;
    ctl.client.dry_run = options->dry_run;
    if (!set_output(&ctl.output, options, ret_error) ||
        !verbs_parse_options(verb, &ctl.argc, ctl.argv, &ctl.options, ret_error))
        return FALSE;

    ok = client_open(&ctl.client, choose_bus(options), ret_error) && verb->run(&ctl, ret_error);
    client_close(&ctl.client);
    g_variant_unref(ctl.options);
    return ok;
}

int
main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("NOUN VERB [ARGUMENT…]");
    g_autoptr(GError) error = NULL;
    Options options = { 0 };
    int status = EXIT_OK;

    (void)setlocale(LC_ALL, "");
    if (!parse_global(context, &options, &argc, &argv, &error)) {
        g_printerr("lunctl: %s\n", error->message);
        return EXIT_USAGE;
    }

    if (options.version) {
        (void)puts("lunctl " LUNPORT_VERSION);
    } else if (options.list_verbs) {
        list_verbs();
    } else if (options.help) {
        if (!print_help(context, argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL))
            status = EXIT_USAGE;
    } else if (argc < 2) {
        g_printerr("lunctl: What is to be done? “lunctl --help” lists the commands\n");
        status = EXIT_USAGE;
    } else if (!check_words(argv, &error) || !run_verb(&options, argc, argv, &error)) {
        status = (int)client_exit_code(error);
        (void)g_dbus_error_strip_remote_error(error);
    }

    if (error != NULL)
        g_printerr("lunctl: %s\n", error->message);
    g_free(options.bus);
    g_free(options.json);
    return status;
}
