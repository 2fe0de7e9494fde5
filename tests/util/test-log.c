/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/log.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* Each test that writes does so in a process of its own, whose stderr is a pipe */
static gboolean
in_child(void)
{
    if (g_test_subprocess())
        return TRUE;

    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    return FALSE;
}

static void
test_event_is_text_with_priority(void)
{
    static const LogField fields[] = { { "ISCSI_TARGET", "iqn.2001-04.com.example" }, { 0 } };

    if (in_child()) {
        log_event(EVENT_TARGET_ONLINE, fields);
        return;
    }
    g_test_trap_assert_stderr("<6>Target iqn.2001-04.com.example is online\n");
}

static void
test_missing_field_is_a_dash(void)
{
    if (in_child()) {
        log_event(EVENT_TARGET_ONLINE, NULL);
        return;
    }
    g_test_trap_assert_stderr("<6>Target - is online\n");
}

static void
test_peer_cannot_forge_lines(void)
{
    static const LogField fields[] = { { "ISCSI_TARGET", "x\n<0>@REASON@\x1b[31m\xff" }, { 0 } };

    if (in_child()) {
        log_event(EVENT_TARGET_ONLINE, fields);
        return;
    }
    g_test_trap_assert_stderr("<6>Target x <0>@REASON@ [31m\xef\xbf\xbd is online\n");
}

static void
test_level(void)
{
    if (in_child()) {
        log_init(LOG_WARNING);
        log_event(EVENT_TARGET_ONLINE, NULL);
        log_event(EVENT_POLKIT_MISSING, NULL);
        return;
    }
    g_test_trap_assert_stderr("<4>polkit*");
}

static void
test_level_is_clamped(void)
{
    log_set_level(99);
    g_assert_cmpint(log_get_level(), ==, LOG_DEBUG);
    log_set_level(-1);
    g_assert_cmpint(log_get_level(), ==, LOG_EMERG);
    log_set_level(LOG_INFO);
}

static void
test_glib_is_routed(void)
{
    if (in_child()) {
        log_init(LOG_DEBUG);
        g_debug("one\ntwo");
        g_message("three");
        log_set_level(LOG_INFO);
        g_debug("four");
        return;
    }
    g_test_trap_assert_stderr("<7>one two\n<5>three\n");
}

static void
test_journal_stream(void)
{
    if (in_child()) {
        g_autofree char *stream = NULL;
        struct stat st;

        /* A stream that is not ours does not count */
        g_assert_cmpint(fstat(STDERR_FILENO, &st), ==, 0);
        stream = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
        g_setenv("JOURNAL_STREAM", stream, TRUE);
        log_event(EVENT_TARGET_ONLINE, NULL);
        return;
    }
    g_test_trap_assert_stderr("<6>Target - is online\n");
}

static void
test_ids_are_unique(void)
{
    for (guint i = 0; i < EVENT_N; i++) {
        const EventInfo *info = event_info((EventId)i);

        g_assert_cmpuint(strlen(info->message_id), ==, 32);
        g_assert_cmpuint(strspn(info->message_id, "0123456789abcdef"), ==, 32);
        for (guint j = 0; j < i; j++)
            g_assert_cmpstr(info->message_id, !=, event_info((EventId)j)->message_id);
    }
}

static void
test_texts_are_sentences(void)
{
    for (guint i = 0; i < EVENT_N; i++) {
        const EventInfo *info = event_info((EventId)i);
        g_auto(GStrv) parts = g_strsplit(info->text, "@", -1);

        g_assert_cmpuint(g_strv_length(parts) % 2, ==, 1); /* each @ has its partner */
        g_assert_false(g_str_has_suffix(info->text, "."));
        g_assert_cmpint(info->level, <=, LOG_INFO);
    }
}

int
main(int argc, char **argv)
{
    g_unsetenv("JOURNAL_STREAM");
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/log/event-is-text-with-priority", test_event_is_text_with_priority);
    g_test_add_func("/util/log/missing-field-is-a-dash", test_missing_field_is_a_dash);
    g_test_add_func("/util/log/peer-cannot-forge-lines", test_peer_cannot_forge_lines);
    g_test_add_func("/util/log/level", test_level);
    g_test_add_func("/util/log/level-is-clamped", test_level_is_clamped);
    g_test_add_func("/util/log/glib-is-routed", test_glib_is_routed);
    g_test_add_func("/util/log/journal-stream", test_journal_stream);
    g_test_add_func("/util/log/ids-are-unique", test_ids_are_unique);
    g_test_add_func("/util/log/texts-are-sentences", test_texts_are_sentences);
    return g_test_run();
}
