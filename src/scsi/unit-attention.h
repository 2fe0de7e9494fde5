/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/sense.h"

/*
 * Unit attentions pending for one nexus on one logical unit
 *
 * Bounded, and each condition once. Those of a reset (29h) go first and stand
 * for each other; the rest is reported in the order of establishment.
 */

#define UNIT_ATTENTION_MAX 8

typedef struct {
    guint8 n;
    guint8 codes[UNIT_ATTENTION_MAX]; /* SenseCode, the next to report first */
} UnitAttentions;

void unit_attention_raise(UnitAttentions *attentions, SenseCode code);
gboolean unit_attention_take(UnitAttentions *attentions, SenseCode *ret_code);
void unit_attention_drop(UnitAttentions *attentions, SenseCode code);
