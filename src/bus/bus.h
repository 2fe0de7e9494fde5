/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service.h"

/*
 * The bus: the model of a service as objects on D-Bus, under the name
 * org.lunport1
 */

#define BUS_NAME "org.lunport1"

typedef struct Bus Bus;

/* What the owner of a Bus is told, from the main loop */
typedef struct {
    void (*name_acquired)(gpointer data);
    /* The name could not be had, was taken away, or the connection was closed; final */
    void (*name_lost)(gpointer data);
} BusListener;

/**
 * bus_new() - connect, export every object, and ask for the name when the service runs
 * @service: outlives the bus; its model gets the bus as its observer
 * @kind: “system”, “session” or the address of a bus
 * @listener: (nullable): outlives the bus
 *
 * Connecting is done before this returns, the rest goes on in the default main context.
 */
Bus *bus_new(Service *service, const char *kind, const BusListener *listener, gpointer data,
             GError **ret_error);

/* Calls that are not answered yet end in SHUTTING_DOWN. What was sent is flushed. */
void bus_free(Bus *bus);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bus, bus_free)

/* Whether systemd stops the service for good; see stop-job.h. Bus and @data live until @done is called. */
void bus_ask_stop_job(Bus *bus, void (*done)(gpointer data, gboolean is_stop), gpointer data);
