/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/transport-id.h"

#include <string.h>

#include "util/bytes.h"
#include "util/name.h"

#define FORMAT_PORT    0x40
#define PROTOCOL_ISCSI 0x05
#define HEADER_LENGTH  4
#define SEPARATOR      ",i,0x"
#define ISID_DIGITS    12
#define LENGTH_MIN     20

guint32
transport_id_put(const char *initiator_port, guint8 *data)
{
    gsize length = strlen(initiator_port) + 1;
    guint16 padded = (guint16)MAX(round_up(length, 4), LENGTH_MIN);

    memset(data, 0, HEADER_LENGTH + (gsize)padded);
    data[0] = FORMAT_PORT | PROTOCOL_ISCSI;
    put_be16(data + 2, padded);
    memcpy(data + HEADER_LENGTH, initiator_port, length);
    return HEADER_LENGTH + (guint32)padded;
}

/* "NAME,i,0xISID" with a name in normal form */
static gboolean
normalize(const char *text, char *ret_name)
{
    const char *separator = strstr(text, SEPARATOR);
    const char *isid;
    g_autofree char *plain = NULL;
    g_autofree char *name = NULL;
    g_autofree char *lower = NULL;

    if (separator == NULL)
        return FALSE;

    isid = separator + strlen(SEPARATOR);
    if (strlen(isid) != ISID_DIGITS || strspn(isid, "0123456789abcdefABCDEF") != ISID_DIGITS)
        return FALSE;

    plain = g_strndup(text, (gsize)(separator - text));
    name = name_normalize_iscsi(plain);
    if (name == NULL || !name_check_iscsi(name, NULL))
        return FALSE;

    lower = g_ascii_strdown(isid, ISID_DIGITS);
    return g_snprintf(ret_name, PORT_NAME_MAX + 1, "%s" SEPARATOR "%s", name, lower) <=
           PORT_NAME_MAX;
}

guint32
transport_id_parse(const guint8 *data, gsize size, char *ret_name, guint *ret_byte)
{
    char text[PORT_NAME_MAX + 8];
    gsize length;

    *ret_byte = 0;
    if (size < HEADER_LENGTH || (data[0] & 0xcf) != (FORMAT_PORT | PROTOCOL_ISCSI))
        return 0;

    *ret_byte = 2;
    length = get_be16(data + 2);
    if (length < LENGTH_MIN || length % 4 != 0 || length > size - HEADER_LENGTH ||
        length >= sizeof(text))
        return 0;

    *ret_byte = HEADER_LENGTH;
    memcpy(text, data + HEADER_LENGTH, length);
    text[length] = '\0';
    if (strlen(text) == length || !normalize(text, ret_name))
        return 0;

    return HEADER_LENGTH + (guint32)length;
}
