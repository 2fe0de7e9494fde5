/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/lu-shard.h"
#include "scsi/record.h"

/* The stored form of saved mode parameters: one line each, 0 or 1 (record.h) */

#define KIND    "modes"
#define VERSION 1

/* clang-format off */
static const char *const names[MODE_N_PARAMETERS] = {
    [MODE_D_SENSE]    = "d-sense",
    [MODE_SWP]        = "swp",
    [MODE_WCE]        = "wce",
    [MODE_TAS]        = "tas",
    [MODE_QERR_ABORT] = "qerr-abort",
    [MODE_QERR_OWN]   = "qerr-own",
};
/* clang-format on */

char *
lu_mode_format(guint8 mode)
{
    GString *record = record_new(KIND, VERSION);

    for (guint i = 0; i < MODE_N_PARAMETERS; i++)
        g_string_append_printf(record, "%s %u\n", names[i], mode & MODE_BIT(i) ? 1U : 0U);
    return record_finish(record);
}

static gboolean
parse(const char *text, gsize size, guint8 *ret_mode, GError **ret_error)
{
    RecordReader reader;
    gboolean is_right = TRUE;

    *ret_mode = 0;
    if (!record_open(&reader, KIND, VERSION, text, size, ret_error))
        return FALSE;

    for (guint i = 0; i < MODE_N_PARAMETERS && is_right; i++) {
        guint value = 0;

        is_right = record_take_number(&reader, names[i], 1, &value);
        if (value != 0)
            *ret_mode |= MODE_BIT(i);
    }
    is_right = is_right && record_is_at_end(&reader) && mode_bits_are_valid(*ret_mode);
    record_close(&reader);
    return is_right || record_fail_form(KIND, ret_error);
}

gboolean
lu_check_modes(const char *text, gsize size, GError **ret_error)
{
    guint8 mode;

    return parse(text, size, &mode, ret_error);
}

/* What cannot be changed (any more) has its default: the store may be another than when it was saved */
void
lu_mode_init(Lu *lu, const LuConfig *config)
{
    guint8 mode;

    lu->state.saved_mode = lu->default_mode;
    if (config->modes != NULL && parse(config->modes, config->modes_size, &mode, NULL))
        lu->state.saved_mode =
            (lu->default_mode & (guint8)~lu->changeable_mode) | (mode & lu->changeable_mode);
}
