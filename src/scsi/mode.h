/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/lu-shard.h"

/*
 * Mode pages: one table, read by MODE SENSE and MODE SELECT
 *
 * What can be changed is single bits, named by ModeParameter. Everything else
 * in a page is what its encoder says, under every page control.
 */

#define MODE_PAGE_ALL    0x3f
#define MODE_SUBPAGE_ALL 0xff

#define MODE_PAGE_SPF 0x40
#define MODE_PAGE_PS  0x80

typedef struct {
    guint8 code;
    guint8 subpage;
    guint16 length; /* after the header */
    gboolean thin_only;
    void (*encode)(const Lu *lu, guint8 *page);
    enum {
        PAGE_OF_DISKS,
        PAGE_OF_DRIVES,
        PAGE_OF_BOTH,
    } owner;
} ModePage;

/* NULL: @lu has none */
const ModePage *mode_page_find(const Lu *lu, guint8 code, guint8 subpage);

/* Bytes before the parameters: a page with a subpage code has a longer header */
static inline guint
mode_page_header(const ModePage *page)
{
    return page->subpage == 0 ? 2 : 4;
}

/* The page with those of the changeable bits set that are in @mode; returns its length. @data is zeroed. */
guint mode_page_encode(const ModePage *page, const Lu *lu, guint8 mode, guint8 *data);

/* The same with nothing but the changeable bits: all of @mode are ones */
guint mode_page_encode_changeable(const ModePage *page, guint8 mode, guint8 *data);

/* Where the field begins that has bit @ret_bit of @byte of the page: its first byte, and left-most bit */
guint mode_page_find_field(const ModePage *page, guint byte, gint *ret_bit);

/* The changeable bits (MODE_BIT) that this page of @data has */
guint8 mode_page_decode(const ModePage *page, const guint8 *data);
