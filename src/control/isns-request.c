/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Requests of an iSNS server
 *
 * Both are answered at once and without a look at what we know, because a server forgets who does
 * not answer. The one exception is an inquiry after another entity than ours: it is one that was
 * ours, perhaps, or another machine had our address, and answering would keep a ghost alive.
 *
 * Of a notification the removals are of interest, because one may be of a node of ours.
 */

#include "control/isns-request.h"

#include <string.h>

#include "control/isns-attribute.h"

#define FUNCTION_NOTIFICATION 0x0008
#define FUNCTION_INQUIRY      0x000d

#define FLAG_CLIENT 0x8000
#define FLAG_WHOLE  0x0c00 /* the first PDU and the last */

#define TAG_ENTITY     1
#define TAG_NODE       32
#define TAG_SCN_BITMAP 35

#define SCN_REMOVED 0x10 /* RFC 4171 6.4.4, bit 27 */

gboolean
isns_request_is_one(const guint8 *header)
{
    guint16 function = get_be16(header + 2);

    return (function == FUNCTION_INQUIRY || function == FUNCTION_NOTIFICATION) &&
           (get_be16(header + 6) & FLAG_WHOLE) == FLAG_WHOLE;
}

static gsize
text_length(const IsnsAttribute *attribute)
{
    return strnlen((const char *)attribute->value, attribute->length);
}

static gboolean
is_ours(const IsnsAttribute *attribute, const IsnsEars *ears)
{
    gsize length = text_length(attribute);

    return ears->entity != NULL && strlen(ears->entity) == length &&
           memcmp(ears->entity, attribute->value, length) == 0;
}

/* All of it goes back (RFC 4171 5.7.5.13) */
static gboolean
hear_inquiry(const guint8 *payload, gsize size, const IsnsEars *ears, gsize *ret_echo)
{
    IsnsAttribute attribute;
    gsize left = size;

    while (isns_attribute_next(&payload, &left, &attribute)) {
        if (attribute.tag == TAG_ENTITY && !is_ours(&attribute, ears))
            return FALSE;
    }
    if (left != 0 || size > ISNS_MESSAGE_MAX - 4)
        return FALSE;

    ears->on_inquiry(ears->data);
    *ret_echo = size;
    return TRUE;
}

/* To whom it was sent, then the time, then what happened and to whom (5.6.5.8); the first goes back
 * (5.7.5.8) */
static gboolean
hear_notification(const guint8 *payload, gsize size, const IsnsEars *ears, gsize *ret_echo)
{
    IsnsAttribute attribute;
    const guint8 *at = payload;
    gsize left = size;
    gboolean is_removal = FALSE;

    if (!isns_attribute_next(&at, &left, &attribute) || size - left > ISNS_MESSAGE_MAX - 4)
        return FALSE;

    *ret_echo = size - left;
    while (isns_attribute_next(&at, &left, &attribute)) {
        if (attribute.tag == TAG_SCN_BITMAP)
            is_removal = attribute.length == 4 && (get_be32(attribute.value) & SCN_REMOVED) != 0;
        else if (attribute.tag == TAG_NODE && is_removal)
            ears->on_removed((const char *)attribute.value, text_length(&attribute), ears->data);
    }
    return left == 0;
}

GByteArray *
isns_request_answer(const guint8 *header, const guint8 *payload, gsize size, const IsnsEars *ears)
{
    guint16 function = get_be16(header + 2);
    guint8 head[ISNS_HEADER_SIZE + 4] = { 0 };
    GByteArray *answer;
    gsize echo;

    if (function == FUNCTION_INQUIRY ? !hear_inquiry(payload, size, ears, &echo)
                                     : !hear_notification(payload, size, ears, &echo))
        return NULL;

    put_be16(head, 1);
    put_be16(head + 2, function | ISNS_ANSWER);
    put_be16(head + 4, (guint16)(4 + echo));
    put_be16(head + 6, FLAG_CLIENT | FLAG_WHOLE);
    put_be16(head + 8, get_be16(header + 8));
    answer = g_byte_array_sized_new((guint)(sizeof(head) + echo));
    g_byte_array_append(answer, head, sizeof(head));
    g_byte_array_append(answer, payload, (guint)echo);
    return answer;
}
