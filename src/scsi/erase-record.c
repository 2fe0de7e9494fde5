/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/erase-record.h"

#include <string.h>

#include "util/error.h"

#define GROUP       "Erase"
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
    g_autoptr(GKeyFile) file = g_key_file_new();

    g_key_file_set_integer(file, GROUP, "Version", VERSION);
    g_key_file_set_string(file, GROUP, "State", state_names[state]);
    g_key_file_set_string(file, GROUP, "Method", method_names[request->method]);
    g_key_file_set_boolean(file, GROUP, "MayExit", request->may_exit);
    g_key_file_set_boolean(file, GROUP, "Invert", request->invert);
    g_key_file_set_integer(file, GROUP, "Passes", (gint)request->n_passes);
    if (request->method == ERASE_PATTERN) {
        g_autofree char *text = g_base64_encode(request->pattern, request->pattern_length);

        g_key_file_set_string(file, GROUP, "Pattern", text);
    }

    return g_key_file_to_data(file, NULL, NULL);
}

static gboolean
find_name(const char *const *names, guint n, const char *name, guint *ret_index)
{
    for (guint i = 0; i < n; i++) {
        if (g_strcmp0(names[i], name) == 0) {
            *ret_index = i;
            return TRUE;
        }
    }

    return FALSE;
}

static gboolean
set_error(GError **ret_error, const char *key)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "The record of an erasing has no usable “%s”", key);
    return FALSE;
}

static gboolean
parse_pattern(GKeyFile *file, EraseRequest *request, guint8 **ret_pattern, GError **ret_error)
{
    g_autofree char *text = g_key_file_get_string(file, GROUP, "Pattern", NULL);
    g_autofree guint8 *pattern = NULL;

    if (text != NULL)
        pattern = g_base64_decode(text, &request->pattern_length);
    if (pattern == NULL || request->pattern_length == 0 || request->pattern_length > PATTERN_MAX)
        return set_error(ret_error, "Pattern");

    request->pattern = pattern;
    *ret_pattern = g_steal_pointer(&pattern);
    return TRUE;
}

gboolean
erase_record_parse(const char *text, gsize size, EraseState *ret_state, EraseRequest *ret_request,
                   guint8 **ret_pattern, GError **ret_error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *state_name = NULL;
    g_autofree char *method_name = NULL;
    EraseRequest request = { 0 };
    guint state, method;
    gint passes;

    *ret_pattern = NULL;

    if (!g_key_file_load_from_data(file, text, size, G_KEY_FILE_NONE, NULL) ||
        g_key_file_get_integer(file, GROUP, "Version", NULL) != VERSION)
        return set_error(ret_error, "Version");

    state_name = g_key_file_get_string(file, GROUP, "State", NULL);
    if (!find_name(state_names, G_N_ELEMENTS(state_names), state_name, &state) ||
        state == ERASE_NONE)
        return set_error(ret_error, "State");

    method_name = g_key_file_get_string(file, GROUP, "Method", NULL);
    if (!find_name(method_names, G_N_ELEMENTS(method_names), method_name, &method))
        return set_error(ret_error, "Method");

    passes = g_key_file_get_integer(file, GROUP, "Passes", NULL);
    if (passes < 1 || passes > PASSES_MAX)
        return set_error(ret_error, "Passes");

    request.state = state == ERASE_FORMATTING || state == ERASE_FORMAT_FAILED ? ERASE_FORMATTING
                                                                              : ERASE_SANITIZING;
    request.method = (EraseMethod)method;
    request.may_exit = g_key_file_get_boolean(file, GROUP, "MayExit", NULL);
    request.invert = g_key_file_get_boolean(file, GROUP, "Invert", NULL);
    request.n_passes = (guint)passes;
    if (request.method == ERASE_PATTERN && !parse_pattern(file, &request, ret_pattern, ret_error))
        return FALSE;

    *ret_state = (EraseState)state;
    *ret_request = request;
    return TRUE;
}
