/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "bus/bus.h"

/*
 * A private bus with the bus layer on it and a client of its own, all in one
 * main loop. The bus is a dbus-daemon of the test's own that lets every user
 * in, so that callers with another uid can be had.
 */

typedef struct {
    GSubprocess *daemon;
    char *directory;
    char *address;
} PrivateBus;

void private_bus_up(PrivateBus *bus);
void private_bus_down(PrivateBus *bus);

typedef struct {
    PrivateBus bus;
    Service *service; /* the test's own business */
    Bus *faces;
    GDBusConnection *client;
    GPtrArray *signals; /* of char *: “Interface.Signal path parameters”, as they came */
} Harness;

/* Start a bus, put @service on it, wait for the name, connect the client */
void harness_up(Harness *harness, Service *service);

/* Ends all but the service */
void harness_down(Harness *harness);

/* Call @method (“Manager.CreateTarget”) at @path; @parameters is floating or NULL. NULL with @ret_error. */
GVariant *harness_call(Harness *harness, const char *path, const char *method, GVariant *parameters,
                       GError **ret_error);

/* The same; it must succeed */
GVariant *harness_call_ok(Harness *harness, const char *path, const char *method,
                          GVariant *parameters);

/* The same; it must fail with @error: “InvalidArgument”, or a whole name with dots */
void harness_call_fails(Harness *harness, const char *path, const char *method,
                        GVariant *parameters, const char *error);

/* @property: “Target.Enabled”; the answer is what is inside the variant */
GVariant *harness_get(Harness *harness, const char *path, const char *property);
char *harness_get_string(Harness *harness, const char *path, const char *property);
guint64 harness_get_number(Harness *harness, const char *path, const char *property);

/* Try to set a property of any interface */
void harness_set(Harness *harness, const char *path, const char *interface, const char *property,
                 GVariant *value, GError **ret_error);

gboolean harness_has_object(Harness *harness, const char *path);

/* Turn the main loop until a signal that matches @pattern (as for g_pattern_match_simple()) was seen */
void harness_wait_signal(Harness *harness, const char *pattern);
gboolean harness_saw_signal(const Harness *harness, const char *pattern);

/* Everything that was sent before this has been received */
void harness_settle(Harness *harness);

/* Turn the main loop until @condition or for 20 s, which fails the test */
void wait_until(gboolean (*condition)(gpointer data), gpointer data);

/* An empty a{sv} */
GVariant *no_options(void);

/* a{sv} of one entry */
GVariant *one_option(const char *name, GVariant *value);
