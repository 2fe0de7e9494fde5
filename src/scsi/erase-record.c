/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/erase-record.h"

#include <string.h>

#include "scsi/record.h"

#define KIND        "erasure"
#define VERSION     1
#define PASSES_MAX  31
#define PATTERN_MAX 4096

/* clang-format off */
static const char *const state_names[] = {
    [ERASE_NONE]            = "none",
    [ERASE_SANITIZING]      = "sanitizing",
    [ERASE_FORMATTING]      = "formatting",
    [ERASE_SANITIZE_FAILED] = "sanitize-failed",
    [ERASE_FORMAT_FAILED]   = "format-failed",
};

static const char *const method_names[] = {
    [ERASE_ZERO]    = "zero",
    [ERASE_UNMAP]   = "unmap",
    [ERASE_PATTERN] = "pattern",
    [ERASE_NOISE]   = "noise",
};
/* clang-format on */

char *
erase_record_format(EraseState state, const EraseRequest *request)
{
    GString *record = record_new(KIND, VERSION);

    g_string_append_printf(record, "state %s\nmethod %s\nmay-exit %u\ninvert %u\npasses %u\n",
                           state_names[state], method_names[request->method],
                           request->may_exit ? 1U : 0U, request->invert ? 1U : 0U,
                           request->n_passes);
    if (request->method == ERASE_PATTERN) {
        g_autofree char *text = g_base64_encode(request->pattern, request->pattern_length);

        g_string_append_printf(record, "pattern %s\n", text);
    }
    return record_finish(record);
}

static gboolean
take_name(RecordReader *reader, const char *key, const char *const *names, guint n,
          guint *ret_index)
{
    g_autofree char *name = record_take(reader, key);

    for (guint i = 0; i < n; i++) {
        if (g_strcmp0(names[i], name) == 0) {
            *ret_index = i;
            return TRUE;
        }
    }

    return FALSE;
}

static gboolean
take_pattern(RecordReader *reader, EraseRequest *request, guint8 **ret_pattern)
{
    g_autofree char *text = record_take(reader, "pattern");
    g_autofree guint8 *pattern = NULL;

    if (text != NULL)
        pattern = g_base64_decode(text, &request->pattern_length);
    if (pattern == NULL || request->pattern_length == 0 || request->pattern_length > PATTERN_MAX)
        return FALSE;

    request->pattern = pattern;
    *ret_pattern = g_steal_pointer(&pattern);
    return TRUE;
}

static gboolean
parse_body(RecordReader *reader, EraseState *ret_state, EraseRequest *request, guint8 **ret_pattern)
{
    guint state, method, may_exit, invert;

    if (!take_name(reader, "state", state_names, G_N_ELEMENTS(state_names), &state) ||
        !take_name(reader, "method", method_names, G_N_ELEMENTS(method_names), &method) ||
        !record_take_number(reader, "may-exit", 1, &may_exit) ||
        !record_take_number(reader, "invert", 1, &invert) ||
        !record_take_number(reader, "passes", PASSES_MAX, &request->n_passes))
        return FALSE;

    *ret_state = (EraseState)state;
    request->state = state == ERASE_FORMATTING || state == ERASE_FORMAT_FAILED ? ERASE_FORMATTING
                                                                               : ERASE_SANITIZING;
    request->method = (EraseMethod)method;
    request->may_exit = may_exit == 1;
    request->invert = invert == 1;
    if (request->method == ERASE_PATTERN && !take_pattern(reader, request, ret_pattern))
        return FALSE;
    return state != ERASE_NONE && request->n_passes > 0 && record_is_at_end(reader);
}

gboolean
erase_record_parse(const char *text, gsize size, EraseState *ret_state, EraseRequest *ret_request,
                   guint8 **ret_pattern, GError **ret_error)
{
    EraseRequest request = { 0 };
    RecordReader reader;
    gboolean is_right;

    *ret_pattern = NULL;
    if (!record_open(&reader, KIND, VERSION, text, size, ret_error))
        return FALSE;

    is_right = parse_body(&reader, ret_state, &request, ret_pattern);
    record_close(&reader);
    if (!is_right) {
        g_clear_pointer(ret_pattern, g_free);
        return record_fail_form(KIND, ret_error);
    }

    *ret_request = request;
    return TRUE;
}
