/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/unit-attention.h"

#include <string.h>

#define ASC_RESET 0x29

static gboolean
is_reset(SenseCode code)
{
    return sense_info(code)->asc == ASC_RESET;
}

static void
remove_at(UnitAttentions *attentions, guint i)
{
    attentions->n--;
    memmove(attentions->codes + i, attentions->codes + i + 1, attentions->n - i);
}

static void
insert_first(UnitAttentions *attentions, SenseCode code)
{
    memmove(attentions->codes + 1, attentions->codes, attentions->n);
    attentions->codes[0] = (guint8)code;
    attentions->n++;
}

void
unit_attention_raise(UnitAttentions *attentions, SenseCode code)
{
    g_assert(sense_info(code)->key == SENSE_KEY_UNIT_ATTENTION);

    unit_attention_drop(attentions, code);

    if (is_reset(code)) {
        if (attentions->n > 0 && is_reset((SenseCode)attentions->codes[0]))
            remove_at(attentions, 0);
        if (attentions->n == UNIT_ATTENTION_MAX)
            attentions->n--;
        insert_first(attentions, code);
        return;
    }

    /* Too many to tell one by one: "all may have changed" says it */
    if (attentions->n == UNIT_ATTENTION_MAX) {
        attentions->n = 0;
        insert_first(attentions, SENSE_POWER_ON);
        return;
    }

    attentions->codes[attentions->n++] = (guint8)code;
}

gboolean
unit_attention_take(UnitAttentions *attentions, SenseCode *ret_code)
{
    if (attentions->n == 0)
        return FALSE;

    *ret_code = (SenseCode)attentions->codes[0];
    remove_at(attentions, 0);
    return TRUE;
}

void
unit_attention_drop(UnitAttentions *attentions, SenseCode code)
{
    for (guint i = 0; i < attentions->n; i++) {
        if (attentions->codes[i] == code) {
            remove_at(attentions, i);
            return;
        }
    }
}
