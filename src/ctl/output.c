/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Tables and JSON
 *
 * Both are made from the same GVariant, so that what a person reads and what a
 * program reads cannot drift apart. Text goes through a pager when standard
 * output is a terminal and the table is longer than it.
 */

#include "ctl/output.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-glib/json-glib.h>

#include "util/size.h"

#define SHELL_NOT_FOUND 127
#define COLUMNS_MAX     16

gboolean
output_mode_parse(const char *text, OutputMode *ret_mode)
{
    static const char *const names[] = { "off", "short", "pretty" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_mode = (OutputMode)i;
            return TRUE;
        }
    }
    return FALSE;
}

/* Anything that could move the cursor or break a line is shown as "?" */
static char *
clean(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_autoptr(GString) copy = g_string_new(NULL);

    for (const char *p = valid; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        gunichar c = g_utf8_get_char(p);

        g_string_append_unichar(copy, g_unichar_iscntrl(c) ? '?' : c);
    }
    return g_string_free(g_steal_pointer(&copy), FALSE);
}

static char *format_plain(GVariant *value);

static char *
format_array(GVariant *value, const char *separator)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (gsize i = 0; i < g_variant_n_children(value); i++) {
        g_autoptr(GVariant) child = g_variant_get_child_value(value, i);
        g_autofree char *item = format_plain(child);

        if (i > 0)
            g_string_append(text, separator);
        g_string_append(text, item);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
format_plain(GVariant *value)
{
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_STRING) ||
        g_variant_is_of_type(value, G_VARIANT_TYPE_OBJECT_PATH))
        return clean(g_variant_get_string(value, NULL));

    if (g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
        return g_strdup(g_variant_get_boolean(value) ? "yes" : "no");

    if (g_variant_is_of_type(value, G_VARIANT_TYPE_ARRAY))
        return format_array(value, ", ");

    if (g_variant_is_of_type(value, G_VARIANT_TYPE_DICT_ENTRY)) {
        g_autoptr(GVariant) key = g_variant_get_child_value(value, 0);
        g_autoptr(GVariant) boxed = g_variant_get_child_value(value, 1);
        g_autofree char *name = format_plain(key);
        g_autofree char *text = format_plain(boxed);

        return g_strdup_printf("%s=%s", name, text);
    }

    if (g_variant_is_of_type(value, G_VARIANT_TYPE_VARIANT)) {
        g_autoptr(GVariant) inner = g_variant_get_variant(value);

        return format_plain(inner);
    }

    return g_variant_print(value, FALSE);
}

static char *
format_time(guint64 usec)
{
    g_autoptr(GDateTime) time = NULL;

    if (usec == 0)
        return g_strdup("");
    time = g_date_time_new_from_unix_local((gint64)(usec / 1000000));
    return time != NULL ? g_date_time_format(time, "%F %T") : g_strdup("");
}

static char *
format_value(GVariant *value, Show show)
{
    if (value == NULL)
        return g_strdup("");

    if (show == SHOW_SIZE && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
        return size_format(g_variant_get_uint64(value));
    if (show == SHOW_TIME && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
        return format_time(g_variant_get_uint64(value));
    if (show == SHOW_LINES && g_variant_is_of_type(value, G_VARIANT_TYPE_ARRAY))
        return format_array(value, "\n");
    if (show == SHOW_ERROR && g_variant_is_of_type(value, G_VARIANT_TYPE("(ss)"))) {
        const char *message;

        g_variant_get_child(value, 1, "&s", &message);
        return clean(message);
    }
    return format_plain(value);
}

static gboolean
is_number(GVariant *value)
{
    return value != NULL && (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64) ||
                             g_variant_is_of_type(value, G_VARIANT_TYPE_UINT32) ||
                             g_variant_is_of_type(value, G_VARIANT_TYPE_UINT16));
}

static void
pad(GString *text, const char *cell, glong width, gboolean right)
{
    glong missing = width - g_utf8_strlen(cell, -1);

    if (!right)
        g_string_append(text, cell);
    for (glong i = 0; i < missing; i++)
        g_string_append_c(text, ' ');
    if (right)
        g_string_append(text, cell);
}

static guint
terminal_lines(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* FALSE: there is no pager, nothing was shown */
static gboolean
page(const char *text)
{
    static const char *const variables[] = { "SYSTEMD_PAGER", "PAGER" };
    const char *pager = NULL;
    const char *less = g_getenv("SYSTEMD_LESS");
    FILE *stream;

    for (gsize i = 0; i < G_N_ELEMENTS(variables) && pager == NULL; i++)
        pager = g_getenv(variables[i]);
    if (pager == NULL)
        pager = "less";
    if (pager[0] == '\0' || strcmp(pager, "cat") == 0)
        return FALSE;

    (void)g_setenv("LESS", less != NULL ? less : "FRSXMK", TRUE);
    /* Who has seen enough leaves the pager, and that is no failure of ours */
    (void)signal(SIGPIPE, SIG_IGN);
    stream = popen(pager, "we");
    if (stream == NULL)
        return FALSE;
    (void)fputs(text, stream);
    return WEXITSTATUS(pclose(stream)) != SHELL_NOT_FOUND;
}

static void
print_text(const Output *output, const GString *text)
{
    guint lines = 0;

    for (const char *p = text->str; *p != '\0'; p++)
        lines += *p == '\n';

    if (output->pager && isatty(STDOUT_FILENO) == 1 && lines >= terminal_lines() && page(text->str))
        return;
    (void)fputs(text->str, stdout);
}

static void
print_json(const Output *output, GVariant *value)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    g_autoptr(JsonNode) root = json_gvariant_serialize(value);
    g_autofree char *text = NULL;

    json_generator_set_root(generator, root);
    json_generator_set_pretty(generator, output->mode == OUTPUT_JSON_PRETTY);
    text = json_generator_to_data(generator, NULL);
    (void)puts(text);
}

static void
print_table(const Output *output, const Column *columns, gsize n_columns, GVariant *rows,
            const char *noun)
{
    g_autoptr(GString) text = g_string_new(NULL);
    gsize n_rows = g_variant_n_children(rows);
    glong widths[COLUMNS_MAX] = { 0 };
    gboolean right[COLUMNS_MAX] = { FALSE };
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    g_assert(n_columns <= COLUMNS_MAX);
    for (gsize r = 0; r < n_rows; r++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rows, r);

        for (gsize c = 0; c < n_columns; c++) {
            g_autoptr(GVariant) value = g_variant_lookup_value(row, columns[c].key, NULL);
            char *cell = format_value(value, columns[c].show);

            widths[c] = MAX(widths[c], g_utf8_strlen(cell, -1));
            right[c] = right[c] || (is_number(value) && columns[c].show != SHOW_TIME);
            g_ptr_array_add(cells, cell);
        }
    }

    for (gsize c = 0; output->legend && c < n_columns; c++)
        widths[c] = MAX(widths[c], (glong)strlen(columns[c].heading));
    for (gsize r = output->legend ? 0 : 1; r < n_rows + 1; r++) {
        for (gsize c = 0; c < n_columns; c++) {
            const char *cell =
                r == 0 ? columns[c].heading : (const char *)cells->pdata[(r - 1) * n_columns + c];
            gboolean last = c == n_columns - 1 && !right[c];

            pad(text, cell, last ? 0 : widths[c], right[c]);
            g_string_append(text, c == n_columns - 1 ? "\n" : "  ");
        }
    }
    if (output->legend)
        g_string_append_printf(text, "\n%" G_GSIZE_FORMAT " %.*s listed.\n", n_rows,
                               (int)strlen(noun) - (n_rows == 1 ? 1 : 0), noun);

    print_text(output, text);
}

void
output_rows(const Output *output, const Column *columns, gsize n_columns, GVariant *rows,
            const char *noun)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(rows);

    if (output->mode == OUTPUT_TABLE)
        print_table(output, columns, n_columns, owned, noun);
    else
        print_json(output, owned);
}

void
output_object(const Output *output, const Column *columns, gsize n_columns, GVariant *object)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(object);
    g_autoptr(GString) text = g_string_new(NULL);
    glong width = 0;

    if (output->mode != OUTPUT_TABLE) {
        print_json(output, owned);
        return;
    }

    for (gsize c = 0; c < n_columns; c++)
        width = MAX(width, (glong)strlen(columns[c].heading));
    for (gsize c = 0; c < n_columns; c++) {
        g_autoptr(GVariant) value = g_variant_lookup_value(owned, columns[c].key, NULL);
        g_autofree char *cell = format_value(value, columns[c].show);
        g_auto(GStrv) lines = NULL;

        if (cell[0] == '\0')
            continue;
        lines = g_strsplit(cell, "\n", -1);
        for (gsize i = 0; lines[i] != NULL; i++) {
            pad(text, i == 0 ? columns[c].heading : "", width, TRUE);
            g_string_append_printf(text, "%s%s\n", i == 0 ? ": " : "  ", lines[i]);
        }
    }
    print_text(output, text);
}

void
output_say(const Output *output, const char *format, ...)
{
    va_list arguments;

    if (output->mode != OUTPUT_TABLE)
        return;
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
}
