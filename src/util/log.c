/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The one log writer
 *
 * Everything the program says ends in write_entry(): GLib's messages through
 * the writer function that log_init() installs, events through log_event().
 * When systemd made our stderr a stream to the journal, entries go there by
 * the native protocol with all their fields; else the sentence alone goes to
 * stderr, on a terminal as it is, elsewhere after "<N>", which journald and
 * other collectors read as the priority.
 *
 * Values may come from a peer, so control characters never reach the text.
 * The level is the one piece of state; it belongs to the process, as the
 * writer function of GLib does, and GLib's own threads may read it.
 */

#include "util/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define FIELDS_MAX 32

typedef struct {
    gint level; /* atomic */
    gboolean routed;
} LogState;

/* clang-format off */
static const EventInfo events[EVENT_N] = {
#define EVENT(symbol, id, level, text) [EVENT_##symbol] = { #symbol, id, level, text },
#include "util/events.def"
#undef EVENT
};
/* clang-format on */

static LogState *
log_state(void)
{
    static LogState state = { .level = LOG_INFO };

    return &state;
}

static gboolean
stderr_is_journal(void)
{
    const char *stream = g_getenv("JOURNAL_STREAM");
    g_autofree char *ours = NULL;
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return FALSE;

    ours = g_strdup_printf("%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, (guint64)st.st_dev,
                           (guint64)st.st_ino);
    return strcmp(stream, ours) == 0;
}

/* One line without control characters */
static char *
clean_text(const char *text, gssize size)
{
    char *clean = g_utf8_make_valid(text, size);

    for (char *p = clean; *p != '\0'; p++) {
        if (g_ascii_iscntrl(*p))
            *p = ' ';
    }
    return clean;
}

static void
write_text(int level, const char *text)
{
    if (isatty(STDERR_FILENO))
        (void)fprintf(stderr, "%s\n", text);
    else
        (void)fprintf(stderr, "<%d>%s\n", level, text);
}

static void
free_iovecs(struct iovec *iov, guint n)
{
    for (guint i = 0; i < n; i++)
        g_free(iov[i].iov_base);
}

static struct iovec
make_iovec(const char *name, const char *value, gsize size)
{
    gsize name_size = strlen(name);
    char *text = g_malloc(name_size + 1 + size);

    memcpy(text, name, name_size);
    text[name_size] = '=';
    memcpy(text + name_size + 1, value, size);
    return (struct iovec){ .iov_base = text, .iov_len = name_size + 1 + size };
}

static gboolean
write_journal(int level, const char *text, const GLogField *fields, gsize n_fields)
{
    struct iovec iov[FIELDS_MAX + 2];
    char priority[2] = { (char)('0' + level), '\0' };
    guint n = 0;
    int r;

    iov[n++] = make_iovec("MESSAGE", text, strlen(text));
    iov[n++] = make_iovec("PRIORITY", priority, 1);

    for (gsize i = 0; i < n_fields && n < G_N_ELEMENTS(iov); i++) {
        const GLogField *field = &fields[i];

        if (strcmp(field->key, "MESSAGE") != 0 && strcmp(field->key, "PRIORITY") != 0)
            iov[n++] = make_iovec(field->key, field->value,
                                  field->length < 0 ? strlen(field->value) : (gsize)field->length);
    }

    r = sd_journal_sendv(iov, (int)n);
    free_iovecs(iov, n);
    return r >= 0;
}

static void
write_entry(int level, const char *text, const GLogField *fields, gsize n_fields)
{
    if (level > log_get_level())
        return;
    if (!stderr_is_journal() || !write_journal(level, text, fields, n_fields))
        write_text(level, text);
}

/* As GLib's own journal writer maps them; criticals are our bugs */
static int
level_from_glib(GLogLevelFlags flags)
{
    if (flags & G_LOG_LEVEL_ERROR)
        return LOG_CRIT;
    if (flags & G_LOG_LEVEL_CRITICAL)
        return LOG_ERR;
    if (flags & G_LOG_LEVEL_WARNING)
        return LOG_WARNING;
    if (flags & G_LOG_LEVEL_MESSAGE)
        return LOG_NOTICE;
    if (flags & G_LOG_LEVEL_INFO)
        return LOG_INFO;
    return LOG_DEBUG;
}

static GLogWriterOutput
on_glib_message(GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer user_data)
{
    g_autofree char *text = NULL;

    for (gsize i = 0; i < n_fields && text == NULL; i++) {
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            text = clean_text(fields[i].value, fields[i].length);
    }

    write_entry(level_from_glib(flags), text != NULL ? text : "-", fields, n_fields);
    return G_LOG_WRITER_HANDLED;
}

static const char *
field_value(const LogField *fields, const char *name, gsize size)
{
    for (const LogField *field = fields; field != NULL && field->name != NULL; field++) {
        if (strlen(field->name) == size && memcmp(field->name, name, size) == 0)
            return field->value;
    }
    return NULL;
}

/* @template with each @FIELD@ replaced by its value */
static char *
expand(const char *template, const LogField *fields)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) parts = g_strsplit(template, "@", -1);

    /* Every second part lies between two @ signs */
    for (guint i = 0; parts[i] != NULL; i++) {
        if (i % 2 == 0) {
            g_string_append(text, parts[i]);
        } else {
            const char *value = field_value(fields, parts[i], strlen(parts[i]));

            g_string_append(text, value != NULL ? value : "-");
        }
    }
    return clean_text(text->str, (gssize)text->len);
}

const EventInfo *
event_info(EventId id)
{
    g_assert((guint)id < EVENT_N);

    return &events[id];
}

void
log_event(EventId id, const LogField *fields)
{
    const EventInfo *info = event_info(id);
    g_autofree char *text = expand(info->text, fields);
    GLogField entry[FIELDS_MAX];
    gsize n = 0;

    entry[n++] = (GLogField){ "MESSAGE_ID", info->message_id, -1 };
    for (const LogField *field = fields; field != NULL && field->name != NULL; field++) {
        if (field->value != NULL && n < G_N_ELEMENTS(entry))
            entry[n++] = (GLogField){ field->name, field->value, -1 };
    }

    write_entry(info->level, text, entry, n);
}

void
log_init(int level)
{
    LogState *state = log_state();

    log_set_level(level);
    if (!state->routed)
        g_log_set_writer_func(on_glib_message, NULL, NULL);
    state->routed = TRUE;
}

void
log_set_level(int level)
{
    g_atomic_int_set(&log_state()->level, CLAMP(level, LOG_EMERG, LOG_DEBUG));
}

int
log_get_level(void)
{
    return g_atomic_int_get(&log_state()->level);
}
