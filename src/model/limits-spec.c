/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/limits-spec.h"

#include <string.h>

#include "model/acl.h"

gboolean
limits_spec_has_row(const SchemaOption *option)
{
    gsize begin = G_STRUCT_OFFSET(SettingsSpec, limits);

    return option->scope == SCHEMA_SETTINGS && option->offset >= begin &&
           option->offset < begin + sizeof(LimitsSpec);
}

const SchemaOption *
limits_spec_find(const char *name)
{
    guint n;
    const SchemaOption *rows = schema_options(&n);

    for (guint i = 0; i < n; i++) {
        if (limits_spec_has_row(&rows[i]) && strcmp(rows[i].option, name) == 0)
            return &rows[i];
    }
    return NULL;
}
