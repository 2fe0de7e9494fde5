/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/lu.h"

/*
 * Who a logical unit is
 *
 * Made once from the stored UUID, never from order or name, so that it is the
 * same on every path, after every restart and on every machine.
 */

#define IDENTITY_SERIAL_MAX      253
#define IDENTITY_DESIGNATORS_MAX 512

typedef struct {
    guint8 vendor[8]; /* blank padded */
    guint8 product[16];
    guint8 revision[4];
    char serial[IDENTITY_SERIAL_MAX + 1];
    guint16 designators_length; /* those of the logical unit in VPD 83 */
    guint8 designators[IDENTITY_DESIGNATORS_MAX];
} Identity;

void identity_init(Identity *identity, const LuConfig *config);

/**
 * identity_put_port() - the designators of the target and its port
 * @buffer: room for IDENTITY_DESIGNATORS_MAX bytes
 *
 * Returns: the bytes written
 */
guint16 identity_put_port(const char *target_name, guint16 relative_target_port,
                          guint16 target_port_group, guint8 *buffer);

/* The SCSI name of the port alone, likewise */
guint16 identity_put_port_name(const char *target_name, guint16 target_port_group, guint8 *buffer);
