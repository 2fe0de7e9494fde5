/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

/*
 * The connection to the service, and how a failure ends
 *
 * Every call goes through client_call(): it sets the interactive flag so that
 * polkit may ask for a password, waits as long as that takes, and leaves one
 * clear line in @ret_error.
 */

typedef enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_NOT_AUTHORIZED = 4,
} ExitCode;

typedef struct {
    GDBusConnection *bus;
    gboolean system_bus;
    gboolean interactive;
    gboolean dry_run;
    GSubprocess *agent; /* pkttyagent, while it runs */
} Client;

#define MANAGER_PATH "/org/lunport1/Manager"

/* @kind: "system", "session" or a D-Bus address */
gboolean client_open(Client *client, const char *kind, GError **ret_error);
void client_close(Client *client);

/**
 * client_call() - call a method of org.lunport1
 * @interface: "Manager", "Target", …
 * @arguments: floating or owned, consumed; NULL for none
 *
 * Returns: the reply, or NULL with an error
 */
GVariant *client_call(Client *client, const char *path, const char *interface, const char *method,
                      GVariant *arguments, GError **ret_error);

/* The same where nothing but success counts. @path may be NULL: not found, as @ret_error says already. */
gboolean client_change(Client *client, const char *path, const char *interface, const char *method,
                       GVariant *arguments, GError **ret_error);

/* All properties of one interface, as a{sv} */
GVariant *client_get_all(Client *client, const char *path, const char *interface,
                         GError **ret_error);

/* The common options of a mutating method, added to @options (may be NULL); floating a{sv} */
GVariant *client_options(const Client *client, GVariant *options);

/* The path of a target by its name, or of a backstore or portal; NULL with an error */
char *client_find_target(Client *client, const char *name, GError **ret_error);
char *client_find_backstore(Client *client, const char *name, GError **ret_error);

/* The user that the service runs as, by name or number; “lunport” when the bus does not say */
char *client_service_user(Client *client);

ExitCode client_exit_code(const GError *error);
