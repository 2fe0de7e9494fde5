/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "client.h"
#include "control/service.h"

/*
 * A service on directories of its own, listening on a free port of 127.0.0.1.
 * Operations are run to their end with fixture_finish().
 */

#define TARGET "iqn.2026-11.org.lunport:t"

typedef struct Fixture Fixture;

struct Fixture {
    char *base;
    char *state_dir;
    char *config_dir;
    char *credentials_dir; /* NULL: none; in effect with the next start */

    /* NULL, or called when the next service is there and has not begun */
    void (*before_start)(Fixture *fixture);
    Service *service;
    guint16 port;

    /* outcome of the last operation */
    gboolean done;
    gpointer object;
    GError *error;

    /* what the options of operations are set to */
    ChangeOptions options;
};

void fixture_set_up(Fixture *fixture, gconstpointer data);
void fixture_tear_down(Fixture *fixture, gconstpointer data);
void fixture_add(const char *path, void (*test)(Fixture *fixture, gconstpointer data));

void fixture_start(Fixture *fixture);
void fixture_stop(Fixture *fixture);
void fixture_restart(Fixture *fixture);

/* ServiceDoneFn: @data is the fixture */
void fixture_on_done(gpointer object, const GError *error, gpointer data);

/* Run the main loop until the operation has ended, well */
void fixture_finish(Fixture *fixture);
/* … or with this LunportError */
void fixture_finish_with(Fixture *fixture, int code);

/* Run the main loop until @condition holds; the test fails after a minute */
void fixture_wait(Fixture *fixture, gboolean (*condition)(Fixture *fixture));

/* The usual objects */
void fixture_add_ram(Fixture *fixture, const char *name);
void fixture_add_target(Fixture *fixture); /* TARGET, enabled, open */
void fixture_add_lun(Fixture *fixture, const char *backstore, gint32 number);
void fixture_add_disk(Fixture *fixture); /* all three: memory “d” as LUN 0 */

/* SetFaults with @rules as text; and the same with its end awaited */
void fixture_begin_faults(Fixture *fixture, const char *backstore, const char *rules);
void fixture_set_faults(Fixture *fixture, const char *backstore, const char *rules);

ModelTarget *fixture_get_target(Fixture *fixture);
ModelBackstore *fixture_get_backstore(Fixture *fixture, const char *name);

/* A client whose connection has been accepted, so that it needs nothing of the main loop */
Client *fixture_connect(Fixture *fixture);

/* The same, logged in to TARGET, and the model has the session */
Client *fixture_log_in(Fixture *fixture);

/* For fixture_wait() */
gboolean fixture_has_session(Fixture *fixture);
gboolean fixture_has_no_session(Fixture *fixture);

/* Files */
char *fixture_read(Fixture *fixture, const char *directory,
                   const char *leaf); /* NULL: there is none */
void fixture_write(const char *directory, const char *leaf, const char *text);

/* Nobody can read a folder of the state directory, and it is there again as it was */
void fixture_hide(Fixture *fixture, const char *directory);
void fixture_show(Fixture *fixture, const char *directory);
