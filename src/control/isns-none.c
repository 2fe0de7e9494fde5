/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* A build without libisns: no server can be set, and nothing is told to one */

#include "control/isns-message.h"

gboolean
isns_message_is_supported(void)
{
    return FALSE;
}

GByteArray *
isns_message_register(guint16 xid, const IsnsEntity *entity, const IsnsNode *node,
                      gboolean is_first)
{
    return NULL;
}

GByteArray *
isns_message_deregister(guint16 xid, const IsnsEntity *entity)
{
    return NULL;
}

GByteArray *
isns_message_query(guint16 xid, const char *node)
{
    return NULL;
}

GByteArray *
isns_message_query_entity(guint16 xid, const char *node)
{
    return NULL;
}

GByteArray *
isns_message_notify(guint16 xid, const char *node)
{
    return NULL;
}
