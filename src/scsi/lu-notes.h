/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * What initiators deposit with a logical unit; the home worker's
 */

#define LU_IDENTIFIER_MAX 64
#define LU_LABEL_MAX      256
#define LU_BUFFER_SIZE    4096
#define LU_ECHO_SIZE      4096

/* SET IDENTIFYING INFORMATION */
typedef struct {
    guint16 identifier_length;
    guint16 label_length;
    guint8 identifier[LU_IDENTIFIER_MAX];
    guint8 label[LU_LABEL_MAX]; /* text for people */
} LuIdentifying;

typedef struct {
    LuIdentifying identifying;
    gboolean is_clock_set;         /* SET TIMESTAMP */
    gint64 clock_offset;           /* milliseconds, to the clock of the machine */
    guint8 buffer[LU_BUFFER_SIZE]; /* WRITE BUFFER */
} LuNotes;

/* The stored form; NULL when there is nothing to store */
char *lu_identifying_format(const LuIdentifying *identifying);
gboolean lu_identifying_parse(const char *text, gsize size, LuIdentifying *ret_identifying,
                              GError **ret_error);
