/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/text.h"

char *
text_escape(const char *text)
{
    GString *escaped = g_string_new(NULL);

    if (text == NULL)
        return g_string_free(escaped, FALSE);

    for (const char *p = text; *p != '\0';) {
        gunichar c = g_utf8_get_char_validated(p, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(escaped, "\\x%02x", (guint8)*p++);
        } else if (g_unichar_iscntrl(c)) {
            for (guint n = (guint8)g_utf8_skip[(guint8)*p]; n > 0; n--)
                g_string_append_printf(escaped, "\\x%02x", (guint8)*p++);
        } else {
            g_string_append_unichar(escaped, c);
            p += g_utf8_skip[(guint8)*p];
        }
    }

    return g_string_free(escaped, FALSE);
}

GVariant *
text_variant(const char *text)
{
    return g_variant_new_take_string(text_escape(text));
}
