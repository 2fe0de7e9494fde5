/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Where initiators that come through some portal groups are sent, as a text of the target's spec
 *
 * "TAG=ADDR[:PORT][=permanent]" by ascending tag, with a space between. For a group that is not in it
 * what the target says holds.
 */

#define GROUP_REDIRECTS_TEXT_MAX 16383
#define GROUP_REDIRECT_PERMANENT "permanent"

typedef struct {
    guint16 tag;
    gboolean is_permanent;
    char *address; /* not checked here; it has no space and no = */
} GroupRedirect;

/* Of GroupRedirect, which it owns; NULL when the text is not valid */
GPtrArray *group_redirects_parse(const char *text);
char *group_redirects_format(const GPtrArray *redirects);

/* Set or add that of @tag; an empty @address: remove it */
void group_redirects_set(GPtrArray *redirects, guint16 tag, const char *address,
                         gboolean is_permanent);
