/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Relative target port identifiers: which one a new target gets */

#include "model/model.h"

/* Whether one of @room identifiers from @port is one of the first @room of another target */
static gboolean
relative_port_is_used(const Model *model, guint16 port, guint room)
{
    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);
        guint distance = ((guint)target->spec->relative_port + G_MAXUINT16 - port) % G_MAXUINT16;

        if (distance < room || G_MAXUINT16 - distance < room)
            return TRUE;
    }
    return FALSE;
}

/* 0: there is none */
static guint16
find_relative_port(const Model *model, guint64 start, guint room)
{
    for (guint64 i = 0; i < G_MAXUINT16; i++) {
        guint16 port = (guint16)((start + i) % G_MAXUINT16 + 1);

        if (!relative_port_is_used(model, port, room))
            return port;
    }
    return 0;
}

guint16
model_make_relative_port(const Model *model, const char *target_name)
{
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, target_name, -1);
    static const guint rooms[] = { 256, 16, 1 };
    guint64 start;
    char word[5];

    (void)g_strlcpy(word, digest, sizeof(word));
    start = g_ascii_strtoull(word, NULL, 16);

    /* With room for the tags of portal groups while there are few targets. 0 is reserved; with more
     * targets than numbers the first choice must do. */
    for (gsize i = 0; i < G_N_ELEMENTS(rooms); i++) {
        guint16 port = find_relative_port(model, start, rooms[i]);

        if (port != 0)
            return port;
    }
    return (guint16)(start % G_MAXUINT16 + 1);
}
