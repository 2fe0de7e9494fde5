/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asynchronous events
 *
 * Some unit attentions are worth being told at once, where the transport can,
 * because an initiator that sends nothing would not hear of them: other units,
 * another size, another access state, other mode parameters. An event that is
 * to be told is a bit of the nexus' logical unit until the transport fetches
 * it, so there are never more than there are units and kinds. That units have
 * come or gone concerns all and is told once.
 */

#include "scsi/lu-shard.h"

static const guint8 codes[] = {
    SENSE_CAPACITY_CHANGED,
    SENSE_ACCESS_STATE_CHANGED,
    SENSE_MODE_PARAMETERS_CHANGED,
    SENSE_INQUIRY_DATA_CHANGED,
};

void
nexus_lun_raise(NexusLun *nexus_lun, SenseCode code)
{
    const Nexus *nexus = nexus_lun->nexus;

    unit_attention_raise(&nexus_lun->attentions, code);
    if (nexus->tell == NULL)
        return;

    for (guint i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (codes[i] == code && nexus->tell(nexus->user_data))
            nexus_lun->events |= (guint8)(1u << i);
    }
}

void
nexus_tell_luns(Nexus *nexus)
{
    if (nexus->tell != NULL && nexus->tell(nexus->user_data))
        nexus->luns_have_changed = TRUE;
}

/* On all units, as LUICLR in VPD 86 says */
void
nexus_luns_are_known(Nexus *nexus)
{
    for (guint i = 0; i < nexus->map->n_entries; i++)
        unit_attention_drop(&nexus->luns[i]->attentions, SENSE_REPORTED_LUNS_CHANGED);
}

gboolean
nexus_lun_take(NexusLun *nexus_lun, SenseCode *ret_code)
{
    if (!unit_attention_take(&nexus_lun->attentions, ret_code))
        return FALSE;

    if (*ret_code == SENSE_REPORTED_LUNS_CHANGED)
        nexus_luns_are_known(nexus_lun->nexus);
    return TRUE;
}

static guint8
encode_sense(const NexusLun *nexus_lun, SenseCode code, guint8 *sense)
{
    gboolean descriptor = nexus_lun != NULL && lu_state_has(&nexus_lun->shard->state, MODE_D_SENSE);

    return sense_encode(&(Sense){ .code = code }, descriptor, sense);
}

static guint8
encode(const NexusLun *nexus_lun, SenseCode code, guint8 lun[8], guint8 *sense)
{
    lun_encode(nexus_lun != NULL ? nexus_lun->lun : 0, lun);
    return encode_sense(nexus_lun, code, sense);
}

guint8
nexus_encode_sense(const Nexus *nexus, const guint8 lun[8], SenseCode code, guint8 *sense)
{
    const NexusLun *nexus_lun = NULL;
    guint16 number;

    if (lun_decode(lun, &number) == LUN_UNIT)
        nexus_lun = nexus_find_lun(nexus, number);
    return encode_sense(nexus_lun, code, sense);
}

guint8
nexus_take_event(Nexus *nexus, guint8 lun[8], guint8 *sense)
{
    guint n = nexus->map->n_entries;

    if (nexus->luns_have_changed) {
        nexus->luns_have_changed = FALSE;
        return encode(n > 0 ? nexus->luns[0] : NULL, SENSE_REPORTED_LUNS_CHANGED, lun, sense);
    }

    /* Once around, from where the last one was */
    for (guint i = 0; i < n; i++) {
        NexusLun *nexus_lun = nexus->luns[nexus->next_event];

        for (guint j = 0; j < G_N_ELEMENTS(codes); j++) {
            if ((nexus_lun->events & 1u << j) == 0)
                continue;
            nexus_lun->events &= (guint8) ~(1u << j);
            return encode(nexus_lun, (SenseCode)codes[j], lun, sense);
        }
        nexus->next_event = (nexus->next_event + 1) % n;
    }
    return 0;
}
