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

typedef struct {
    guint16 identifier_length;
    guint16 label_length;
    guint8 identifier[LU_IDENTIFIER_MAX]; /* SET IDENTIFYING INFORMATION */
    guint8 label[LU_LABEL_MAX];           /* the same, text for people */
    gboolean is_clock_set;                /* SET TIMESTAMP */
    gint64 clock_offset;                  /* milliseconds, to the clock of the machine */
    guint8 buffer[LU_BUFFER_SIZE];        /* WRITE BUFFER */
} LuNotes;
