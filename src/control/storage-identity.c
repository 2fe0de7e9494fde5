/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: what initiators know a backstore by
 *
 * The identity of a unit follows from the spec alone, so that it is known, and
 * can be told from those of others, before the storage is opened.
 */

#include <string.h>

#include "control/storage-private.h"
#include "util/error.h"

/* "0d4f…-…" as bytes; the schema has checked the form */
static void
uuid_to_bytes(const char *text, guint8 bytes[16])
{
    guint n = 0;

    memset(bytes, 0, 16);
    for (const char *p = text; *p != '\0' && n < 32; p++) {
        if (!g_ascii_isxdigit(*p))
            continue;
        bytes[n / 2] = (guint8)(bytes[n / 2] << 4 | g_ascii_xdigit_value(*p));
        n++;
    }
}

static const char *
text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

void
storage_make_lu_config(const BackstoreSpec *spec, LuConfig *config)
{
    *config = (LuConfig){ .name = spec->name,
                          .serial = text_or_null(spec->serial),
                          .vendor = text_or_null(spec->vendor),
                          .product = text_or_null(spec->product),
                          .thin = spec->thin,
                          .device = backstore_spec_is_cdrom(spec) ? LU_CDROM : LU_DISK,
                          .removable = spec->removable,
                          .lenient_cdb = spec->lenient_cdb };
    uuid_to_bytes(spec->uuid, config->uuid);
    if (strlen(spec->naa) == 16)
        config->naa = g_ascii_strtoull(spec->naa, NULL, 16);
    else if (spec->naa[0] != '\0')
        uuid_to_bytes(spec->naa, config->naa6);
}

void
storage_describe(ModelBackstore *backstore)
{
    LuConfig config;
    char text[128];

    storage_make_lu_config(backstore->spec, &config);
    lu_format_serial(&config, text, sizeof(text));
    g_free(backstore->serial);
    backstore->serial = g_strdup(text);
    lu_format_wwn(&config, text, sizeof(text));
    g_free(backstore->wwn);
    backstore->wwn = g_strdup(text);
}

static gboolean
fail_identity(const BackstoreSpec *other, const char *what, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                "Backstore “%s” has the same %s; initiators would take both for one disk",
                other->name, what);
    return FALSE;
}

gboolean
storage_check_identity(const Model *model, const BackstoreSpec *spec, GError **ret_error)
{
    for (guint i = 0; i < model->backstores->len; i++) {
        const ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);
        const BackstoreSpec *other = backstore->spec;

        if (strcmp(other->name, spec->name) == 0)
            continue;
        if (g_ascii_strcasecmp(other->uuid, spec->uuid) == 0)
            return fail_identity(other, "UUID", ret_error);
        if (spec->naa[0] != '\0' && g_ascii_strcasecmp(other->naa, spec->naa) == 0)
            return fail_identity(other, "NAA identifier", ret_error);
        if (spec->serial[0] != '\0' && strcmp(other->serial, spec->serial) == 0)
            return fail_identity(other, "serial number", ret_error);
        if (spec->path[0] != '\0' && strcmp(other->path, spec->path) == 0 &&
            !(backstore_spec_is_read_only(other) && backstore_spec_is_read_only(spec))) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_IN_USE,
                        "Backstore “%s” uses “%s” already", other->name, spec->path);
            return FALSE;
        }
    }
    return TRUE;
}
