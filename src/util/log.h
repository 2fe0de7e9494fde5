/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Logging
 *
 * What an administrator should see is an event: a row of util/events.def with
 * a fixed MESSAGE_ID, level, sentence and a paragraph in
 * systemd/lunport.catalog. All else is debug text through g_debug(). Only the
 * control thread logs; workers post events to it.
 *
 * One writer: the journal when $JOURNAL_STREAM is our stderr, else "<N>text".
 */

/* clang-format off */
typedef enum {
#define EVENT(symbol, id, level, text) EVENT_##symbol,
#include "util/events.def"
#undef EVENT
    EVENT_N,
} EventId;
/* clang-format on */

typedef struct {
    const char *name;  /* ISCSI_TARGET, …: a name of a journal field */
    const char *value; /* NULL: the field is left out */
} LogField;

typedef struct {
    const char *symbol;
    const char *message_id; /* 32 hexadecimal digits */
    int level;              /* of syslog */
    const char *text;       /* with @FIELD@ where a field's value goes */
} EventInfo;

/* The row of events.def */
const EventInfo *event_info(EventId id);

/**
 * log_event() - write one event with its fields
 * @fields: ends with a NULL name; @FIELD@ in the event's text is replaced from
 *     here, "-" where the field is missing
 */
void log_event(EventId id, const LogField *fields);

/* Route GLib's messages and ours through the one writer; @level as in syslog, 7 is debug */
void log_init(int level);
void log_set_level(int level);
int log_get_level(void);
