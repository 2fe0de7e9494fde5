/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "fixture.h"

#include "scsi/copy.h"

/*
 * Two logical units and the parameter list of a copy from one to the other
 *
 * LUN 0 is a slow store, whose requests the test can hold. LUN 1 is memory, or
 * another slow store, so that the two can copy by themselves.
 */

#define MIB ((guint64)1 << 20)

typedef struct {
    Rig *rig;
    Backstore *store;
    Lu *lu;
    Nexus *nexus;
    guint8 list[1024];
    gsize length;
} Copy;

void copy_init(Copy *c, gboolean read_only); /* LUN 1 is memory, 4 MiB both */
void copy_init_slow(Copy *c, const SlowConfig *config, guint n_workers, gsize pool_size);
void copy_clear(Copy *c);

/* No unit attention is left */
void copy_set_map(Nexus *nexus, const LunEntry *entries, guint n);

void copy_put_cscd(guint8 *p, const Lu *lu); /* by NAA, the first designator of VPD 83 */
void copy_put_segment(guint8 *p, guint source, guint destination, guint n_blocks, guint64 from,
                      guint64 to);

/* A list without segments in c->list: LID1, list identifier 7, CSCD 0 is LUN 0 and 1 is LUN 1; or
 * LID4, list identifier 0x01020304, CSCD 1 is LUN 0 and 2 is LUN 1 */
void copy_make_list(Copy *c);
void copy_make_lid4(Copy *c);
void copy_add_segment(Copy *c, guint source, guint destination, guint n_blocks, guint64 from,
                      guint64 to);

/* EXTENDED COPY with c->list on LUN 0; @action: 0 LID1, 1 LID4 */
void copy_prepare(Copy *c, TestCommand *test, guint8 action);
void copy_run(Copy *c, TestCommand *test, guint8 action);

/* What RECEIVE COPY RESULTS with @action tells */
GByteArray *copy_receive(Copy *c, guint8 action, guint32 list_id);

void copy_fill(Copy *c); /* LUN 0, no block like another */
