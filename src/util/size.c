/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/size.h"

#include <string.h>

#include "util/error.h"

static const char units[] = "KMGTPE";

gboolean
size_parse(const char *text, guint64 *ret_size, GError **ret_error)
{
    char *end = NULL;
    gdouble number = g_ascii_strtod(text, &end);
    gdouble factor = 1;
    const char *unit = *end != '\0' ? strchr(units, g_ascii_toupper(*end)) : NULL;
    gboolean valid = g_ascii_isdigit(text[0]) && end == text + strspn(text, "0123456789.");

    if (valid && unit != NULL) {
        for (const char *u = units; u <= unit; u++)
            factor *= 1024;
        end++;
        if (g_ascii_strncasecmp(end, "ib", 2) == 0)
            end++;
    }
    if (g_ascii_toupper(*end) == 'B')
        end++;

    if (!valid || *end != '\0' || number * factor >= (gdouble)G_MAXINT64) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "“%s” is not a size (examples: 1G, 512M, 4096)", text);
        return FALSE;
    }

    /* A plain number keeps all its digits */
    *ret_size = factor <= 1 ? g_ascii_strtoull(text, NULL, 10) : (guint64)(number * factor);
    return TRUE;
}

char *
size_format(guint64 size)
{
    gdouble number = (gdouble)size;
    int unit = -1;

    while (number >= 1024 && unit < (int)strlen(units) - 1) {
        number /= 1024;
        unit++;
    }
    if (unit < 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT "B", size);
    return g_strdup_printf("%.1f%c", number, units[unit]);
}
