/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/group-redirect.h"

#include <string.h>

static void
redirect_free(gpointer data)
{
    GroupRedirect *redirect = data;

    g_free(redirect->address);
    g_free(redirect);
}

static GroupRedirect *
redirect_new(guint16 tag, const char *address, gboolean is_permanent)
{
    GroupRedirect *redirect = g_new0(GroupRedirect, 1);

    redirect->tag = tag;
    redirect->address = g_strdup(address);
    redirect->is_permanent = is_permanent;
    return redirect;
}

/* NULL: the word is not valid */
static GroupRedirect *
parse_one(const char *word)
{
    g_auto(GStrv) parts = g_strsplit(word, "=", -1);
    guint n = g_strv_length(parts);
    guint64 tag;

    if (n < 2 || n > 3 || !g_ascii_string_to_unsigned(parts[0], 10, 1, G_MAXUINT16, &tag, NULL) ||
        parts[1][0] == '\0' || (n == 3 && strcmp(parts[2], GROUP_REDIRECT_PERMANENT) != 0))
        return NULL;
    return redirect_new((guint16)tag, parts[1], n == 3);
}

GPtrArray *
group_redirects_parse(const char *text)
{
    g_autoptr(GPtrArray) redirects = g_ptr_array_new_with_free_func(redirect_free);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    guint16 last = 0;

    for (guint i = 0; text[0] != '\0' && words[i] != NULL; i++) {
        GroupRedirect *redirect = parse_one(words[i]);

        if (redirect == NULL)
            return NULL;
        g_ptr_array_add(redirects, redirect);
        if (redirect->tag <= last)
            return NULL;
        last = redirect->tag;
    }
    return g_steal_pointer(&redirects);
}

char *
group_redirects_format(const GPtrArray *redirects)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < redirects->len; i++) {
        const GroupRedirect *redirect = g_ptr_array_index(redirects, i);

        g_string_append_printf(text, "%s%u=%s%s", i > 0 ? " " : "", redirect->tag,
                               redirect->address,
                               redirect->is_permanent ? "=" GROUP_REDIRECT_PERMANENT : "");
    }
    return g_string_free(text, FALSE);
}

void
group_redirects_set(GPtrArray *redirects, guint16 tag, const char *address, gboolean is_permanent)
{
    guint i = 0;

    while (i < redirects->len &&
           ((const GroupRedirect *)g_ptr_array_index(redirects, i))->tag < tag)
        i++;
    if (i < redirects->len && ((const GroupRedirect *)g_ptr_array_index(redirects, i))->tag == tag)
        g_ptr_array_remove_index(redirects, i);
    if (address[0] != '\0')
        g_ptr_array_insert(redirects, (gint)i, redirect_new(tag, address, is_permanent));
}
