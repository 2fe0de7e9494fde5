/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The table of verbs, and what reads it
 *
 * A new verb is a row here and a function in the file of its noun. Dispatch, --help, --list-verbs,
 * completion and the test of the man page read the rows, so a verb that is here is known everywhere.
 * Options become the a{sv} of the method that the verb calls, under the key that the row says.
 */

#include "ctl/verbs.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "ctl/secret.h"
#include "util/size.h"

/* clang-format off */
static const VerbOption backstore_create_options[] = {
    { "type", "type", OPTION_STRING, "file, block, ram or null (default: from the path)" },
    { "path", "path", OPTION_STRING, "absolute path of the file or device (a new file needs none)" },
    { "size", "size", OPTION_SIZE, "size, as 1G; a file that is not there is created with it" },
    { "cache", "cache", OPTION_STRING, "none, writeback or writethrough" },
    { "block-size", "block-size", OPTION_UINT32, "logical block in bytes: 512 (default) or 4096" },
    { "physical-block-size", "physical-block-size", OPTION_UINT32, "physical block in bytes" },
    { "preallocate", "sparse", OPTION_FLAG_NOT, "give a new file all its blocks now" },
    { "read-only", "read-only", OPTION_FLAG, "never write" },
    { "device-type", "device-type", OPTION_STRING, "disk (default), or cdrom: a CD/DVD drive for ISO images" },
    { "removable", "removable", OPTION_FLAG, "initiators can eject the medium" },
    { "thick", "thin", OPTION_FLAG_NOT, "do not offer initiators to give blocks back" },
    { "lenient-cdb", "lenient-cdb", OPTION_FLAG, "take reserved bits; stay ready when stopped" },
    { "serial", "serial", OPTION_STRING, "unit serial number" },
    { "naa", "naa", OPTION_STRING, "NAA identifier, hexadecimal, to keep a disk's identity" },
    { "uuid", "uuid", OPTION_STRING, "UUID that the identity is made from" },
    { "vendor", "vendor", OPTION_STRING, "SCSI vendor, at most 8 characters" },
    { "product", "product", OPTION_STRING, "SCSI product, at most 16 characters" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption backstore_delete_options[] = {
    { "delete-file", "delete-file", OPTION_FLAG, "remove the file and its data too, if the service made it" },
    { 0 },
};

static const VerbOption backstore_resize_options[] = {
    { "allow-shrink", "allow-shrink", OPTION_FLAG, "also make it smaller: what lies beyond is lost" },
    { 0 },
};

static const VerbOption backstore_medium_options[] = {
    { "force", "force", OPTION_FLAG, "also when an initiator prevents the removal" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption backstore_fault_options[] = {
    { "on", "on", OPTION_STRING, "read, write, flush, unmap, zero, map, prefetch, copy or all, several with commas" },
    { "error", "error", OPTION_STRING, "EIO (default), ENOSPC, ENODEV, EAGAIN, … or none" },
    { "delay", "delay", OPTION_STRING, "hold each request that long first, as 200ms or 5s" },
    { "stall", "stall", OPTION_FLAG, "hold requests until the faults are changed" },
    { "offset", "offset", OPTION_SIZE, "only requests that touch bytes from here" },
    { "length", "length", OPTION_SIZE, "so many bytes (default: up to the end)" },
    { "count", "count", OPTION_UINT32, "strike so often (default: always)" },
    { "probability", "probability", OPTION_STRING, "strike with this probability, above 0 and at most 1" },
    { "seed", "seed", OPTION_UINT32, "of the probability: the same makes the same sequence" },
    { "clear", "clear", OPTION_FLAG, "remove the faults that are there first" },
    { 0 },
};

static const VerbOption target_create_options[] = {
    { "alias", "alias", OPTION_STRING, "a description initiators may show" },
    { "enable", "enabled", OPTION_FLAG, "let initiators log in at once" },
    { "portal-group", "portal-groups", OPTION_STRING, "only through these portal groups, several with commas" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

/* Of verbs that begin a job */
#define NO_WAIT_OPTION { "no-wait", JOB_WAIT_KEY, OPTION_FLAG_NOT, "do not wait for the end, show the job" }

static const VerbOption target_disable_options[] = {
    { "drain", "drain", OPTION_FLAG, "ask initiators to log out, and wait until they have" },
    { "abort", "abort", OPTION_FLAG, "end its sessions instead of refusing" },
    { "timeout", "timeout", OPTION_TIME, "with --drain: drop who is there then (default 60s, at most 600s)" },
    NO_WAIT_OPTION,
    { 0 },
};

static const VerbOption target_redirect_options[] = {
    { "permanent", "permanent", OPTION_FLAG, "initiators are told that it has moved for good" },
    { "portal-group", "portal-group", OPTION_UINT32, "only those that come through this portal group" },
    { "clear", "clear", OPTION_FLAG, "let initiators in here again" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption no_wait_options[] = {
    NO_WAIT_OPTION,
    { 0 },
};

static const VerbOption session_logout_options[] = {
    { "timeout", "timeout", OPTION_TIME, "drop the session then (default 60s, at most 600s)" },
    NO_WAIT_OPTION,
    { 0 },
};

static const VerbOption force_options[] = {
    { "force", "force", OPTION_FLAG, "end sessions that use it first" },
    { 0 },
};

static const VerbOption lun_add_options[] = {
    { "lun", "lun", OPTION_UINT32, "its number (default: the first free one)" },
    { "read-only", "read-only", OPTION_FLAG, "initiators may not write" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption portal_add_options[] = {
    { "group", "group", OPTION_UINT32, "target portal group tag (default 1); a new group is made" },
    { "announce", "announce-address", OPTION_STRING, "ADDR[:PORT] that initiators are told instead (behind NAT)" },
    { "interface", "interface", OPTION_STRING, "accept only what comes in through this network interface" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption isns_set_options[] = {
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption portal_alua_options[] = {
    { "preferred", "preferred", OPTION_FLAG, "initiators are told to prefer the group" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption session_list_options[] = {
    { "target", "target", OPTION_STRING, "only sessions with this target" },
    { "initiator", "initiator", OPTION_STRING, "only sessions of this initiator" },
    { 0 },
};

static const VerbOption limits_options[] = {
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption access_allow_options[] = {
    { "group", "group", OPTION_STRING, "instead of an initiator: all of this group" },
    { "from", "from", OPTION_STRING, "only from these addresses, as 192.0.2.0/24, several with commas" },
    { "portal-group", "portal-group", OPTION_STRING, "only through these portal groups, several with commas" },
    { "read-only", "read-only", OPTION_FLAG, "without writing" },
    { "lun-map", "lun-map", OPTION_STRING, "show these: LUN:TARGETLUN[:ro], several with commas" },
    { "no-auth", "no-auth", OPTION_FLAG, "without proof, whatever the target asks for" },
    { "chap-user", "chap-user", OPTION_STRING, "ask for CHAP with this name" },
    SECRET_OPTIONS,
    { "replace", "replace", OPTION_FLAG, "in the place of the rule that is there" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption access_deny_options[] = {
    { "group", "group", OPTION_STRING, "instead of an initiator: all of this group" },
    { "from", "from", OPTION_STRING, "only from these addresses, as 192.0.2.0/24, several with commas" },
    { "portal-group", "portal-group", OPTION_STRING, "only through these portal groups, several with commas" },
    { "replace", "replace", OPTION_FLAG, "in the place of the rule that is there" },
    { "terminate", "terminate-sessions", OPTION_FLAG, "end sessions that would not be let in any more" },
    { "runtime", "persist", OPTION_FLAG_NOT, "forget it when the service stops" },
    { 0 },
};

static const VerbOption access_remove_options[] = {
    { "terminate", "terminate-sessions", OPTION_FLAG, "end sessions that nothing else lets in" },
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption access_secret_options[] = {
    { "chap-user", "user", OPTION_STRING, "the initiator's name for CHAP (default: as it was)" },
    SECRET_OPTIONS,
    { "remove", "remove", OPTION_FLAG, "forget it: nobody gets in by the rule" },
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption account_set_options[] = {
    { "rule", "rule", OPTION_STRING, "of the access rule of this initiator, or of @GROUP" },
    SECRET_OPTIONS,
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption account_remove_options[] = {
    { "rule", "rule", OPTION_STRING, "of the access rule of this initiator, or of @GROUP" },
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption auth_options[] = {
    { "chap-user", "user", OPTION_STRING, "the initiators' name for CHAP (default: as it was)" },
    SECRET_OPTIONS,
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption runtime_options[] = {
    { "runtime", "persist", OPTION_FLAG_NOT, "only until the service stops" },
    { 0 },
};

static const VerbOption export_options[] = {
    { "to", "to", OPTION_STRING, "only for this initiator; without it the disk is open to all" },
    { "size", "size", OPTION_SIZE, "create the file with this size; a NAME that is no path is kept by the service" },
    { "name", "name", OPTION_STRING, "name of the backstore (default: from the path)" },
    { "target", "target", OPTION_STRING, "name of the target (default: made from the name)" },
    { "cache", "cache", OPTION_STRING, "none, writeback or writethrough" },
    { "read-only", "read-only", OPTION_FLAG, "initiators may not write" },
    { "fix", "fix", OPTION_FLAG, "let the service open the path (setfacl) when it may not" },
    { 0 },
};

static const Verb verbs[] = {
    { "status", NULL, "", 0, 0, NULL, status_verb, "Show the service, portals, targets, sessions and problems" },
    { "export", NULL, "PATH|NAME", 1, 1, export_options, export_verb, "Make a disk of a file or device in one step" },
    { "backstore", "create", "NAME", 1, 1, backstore_create_options, backstore_verb_create, "Make storage for logical units" },
    { "backstore", "list", "", 0, 0, NULL, backstore_verb_list, "List backstores" },
    { "backstore", "show", "NAME", 1, 1, NULL, backstore_verb_show, "Show one backstore" },
    { "backstore", "resize", "NAME SIZE", 2, 2, backstore_resize_options, backstore_verb_resize, "Change the size in use; 0 learns that of the device" },
    { "backstore", "load", "NAME PATH", 2, 2, backstore_medium_options, backstore_verb_load, "Put a medium into a removable backstore" },
    { "backstore", "eject", "NAME", 1, 1, backstore_medium_options, backstore_verb_eject, "Take the medium out of a removable backstore" },
    { "backstore", "offline", "NAME", 1, 1, NULL, backstore_verb_offline, "Close the storage; its logical units are not ready meanwhile" },
    { "backstore", "online", "NAME", 1, 1, NULL, backstore_verb_online, "Open the storage again, also after a failed flush" },
    { "backstore", "read-only", "NAME", 1, 1, NULL, backstore_verb_read_only, "Refuse writes from now on" },
    { "backstore", "writable", "NAME", 1, 1, NULL, backstore_verb_writable, "Allow writes again" },
    { "backstore", "flush", "NAME", 1, 1, no_wait_options, backstore_verb_flush, "Write what is in caches to stable storage" },
    { "backstore", "verify", "NAME", 1, 1, no_wait_options, backstore_verb_verify, "Read everything, and say what cannot be read" },
    { "backstore", "fault", "NAME", 1, 1, backstore_fault_options, backstore_verb_fault, "Make its storage fail, for a rehearsal; without options show the faults" },
    { "backstore", "delete", "NAME", 1, 1, backstore_delete_options, backstore_verb_delete, "Forget a backstore; its data stays" },
    { "target", "create", "IQN", 1, 1, target_create_options, target_verb_create, "Create a target" },
    { "target", "list", "", 0, 0, NULL, target_verb_list, "List targets" },
    { "target", "show", "IQN", 1, 1, NULL, target_verb_show, "Show one target" },
    { "target", "enable", "IQN", 1, 1, NULL, target_verb_enable, "Let initiators log in" },
    { "target", "disable", "IQN", 1, 1, target_disable_options, target_verb_disable, "Refuse logins" },
    { "target", "redirect", "IQN [ADDR[:PORT]]", 1, 2, target_redirect_options, target_verb_redirect, "Send initiators that log in to another address" },
    { "target", "portal-groups", "IQN TAG,…|all", 2, 2, runtime_options, target_verb_portal_groups, "Set through which portal groups a target is reached" },
    { "target", "set", "IQN KEY=VALUE…", 2, -1, NULL, target_verb_set, "Set what is offered to new sessions, or the alias" },
    { "target", "auth", "IQN chap|none", 2, 2, auth_options, target_verb_auth, "Ask initiators for a proof where no rule says otherwise" },
    { "target", "delete", "IQN", 1, 1, force_options, target_verb_delete, "Delete a target and its logical units" },
    { "lun", "add", "IQN BACKSTORE", 2, 2, lun_add_options, lun_verb_add, "Give a target a logical unit" },
    { "lun", "list", "IQN", 1, 1, NULL, lun_verb_list, "List the logical units of a target" },
    { "lun", "show", "IQN LUN", 2, 2, NULL, lun_verb_show, "Show one logical unit with its reservation" },
    { "lun", "registrations", "IQN LUN", 2, 2, NULL, lun_verb_registrations, "List who is registered with its reservation" },
    { "lun", "clear-reservations", "IQN LUN", 2, 2, NULL, lun_verb_clear_reservations, "Remove all registrations and reservations" },
    { "lun", "read-only", "IQN LUN", 2, 2, NULL, lun_verb_read_only, "Refuse writes from now on" },
    { "lun", "writable", "IQN LUN", 2, 2, NULL, lun_verb_writable, "Allow writes again" },
    { "lun", "remove", "IQN LUN", 2, 2, force_options, lun_verb_remove, "Take a logical unit away" },
    { "lun", "reset", "IQN LUN", 2, 2, NULL, lun_verb_reset, "Abort all commands of a logical unit" },
    { "access", "open", "IQN", 1, 1, NULL, access_verb_open, "Let everybody in whom no rule denies" },
    { "access", "close", "IQN", 1, 1, NULL, access_verb_close, "Let nobody in but by a rule" },
    { "access", "list", "[IQN]", 0, 1, NULL, access_verb_list, "Show who may log in where" },
    { "access", "allow", "IQN [INITIATOR]", 1, 2, access_allow_options, access_verb_allow, "Let an initiator, a pattern or a group log in" },
    { "access", "deny", "IQN [INITIATOR]", 1, 2, access_deny_options, access_verb_deny, "Refuse an initiator, a pattern or a group" },
    { "access", "remove", "IQN INITIATOR|@GROUP", 2, 2, access_remove_options, access_verb_remove, "Remove a rule and its secret" },
    { "access", "secret", "IQN INITIATOR|@GROUP", 2, 2, access_secret_options, access_verb_secret, "Ask for CHAP with a secret of its own" },
    { "access", "luns", "IQN INITIATOR|@GROUP MAP|all", 3, 3, runtime_options, access_verb_luns, "Set which logical units a rule shows" },
    { "access", "read-only", "IQN INITIATOR|@GROUP", 2, 2, runtime_options, access_verb_read_only, "Refuse writes of those whom a rule lets in" },
    { "access", "writable", "IQN INITIATOR|@GROUP", 2, 2, runtime_options, access_verb_writable, "Allow them again" },
    { "account", "set", "IQN|discovery USER", 2, 2, account_set_options, account_verb_set, "Make or change one of several CHAP accounts" },
    { "account", "remove", "IQN|discovery USER", 2, 2, account_remove_options, account_verb_remove, "Remove one of them" },
    { "account", "list", "[IQN|discovery]", 0, 1, NULL, account_verb_list, "List CHAP accounts, without their secrets" },
    { "group", "create", "NAME [INITIATOR…]", 1, -1, runtime_options, group_verb_create, "Make a group of initiators" },
    { "group", "add", "NAME INITIATOR…", 2, -1, runtime_options, group_verb_add, "Add initiators to a group" },
    { "group", "remove", "NAME INITIATOR…", 2, -1, runtime_options, group_verb_remove, "Remove initiators from a group" },
    { "group", "list", "", 0, 0, NULL, group_verb_list, "List groups" },
    { "group", "delete", "NAME", 1, 1, runtime_options, group_verb_delete, "Delete a group that no rule is for" },
    { "discovery", "auth", "chap|none", 1, 1, auth_options, discovery_verb_auth, "Ask for a proof before targets are listed" },
    { "discovery", "show", "", 0, 0, NULL, discovery_verb_show, "Show what discovery asks for, and algorithms of CHAP" },
    { "chap", "algorithms", "ALGORITHM…", 1, -1, runtime_options, chap_verb_algorithms, "Set which algorithms of CHAP are taken" },
    { "portal", "add", "ADDR[:PORT]", 1, 1, portal_add_options, portal_verb_add, "Listen on an address" },
    { "portal", "list", "", 0, 0, NULL, portal_verb_list, "List portals" },
    { "portal", "show", "ADDR[:PORT]", 1, 1, NULL, portal_verb_show, "Show one portal" },
    { "portal", "pause", "ADDR[:PORT]", 1, 1, NULL, portal_verb_pause, "Let new connections wait" },
    { "portal", "resume", "ADDR[:PORT]", 1, 1, NULL, portal_verb_resume, "Take new connections again" },
    { "portal", "remove", "ADDR[:PORT]", 1, 1, NULL, portal_verb_remove, "Stop listening on an address" },
    { "portal", "alua", "IQN GROUP STATE", 3, 3, portal_alua_options, portal_verb_alua, "Set the access state of a target through a portal group" },
    { "isns", "set", "HOST[:PORT]|off", 1, 1, isns_set_options, isns_verb_set, "Register targets with an iSNS server, or with none" },
    { "isns", "show", "", 0, 0, NULL, isns_verb_show, "Show the iSNS server and whether it knows the targets" },
    { "session", "list", "", 0, 0, session_list_options, session_verb_list, "List sessions" },
    { "session", "show", "TSIH", 1, 1, NULL, session_verb_show, "Show one session with its connections" },
    { "session", "logout", "TSIH", 1, 1, session_logout_options, session_verb_logout, "Ask an initiator to log out" },
    { "session", "terminate", "TSIH", 1, 1, NULL, session_verb_terminate, "Close a session's connections and drop it" },
    { "limits", "set", "KEY=VALUE…", 1, -1, limits_options, limits_verb_set, "Change what initiators may use of the service" },
    { "limits", NULL, "", 0, 0, NULL, limits_verb_list, "Show what initiators may use, and who has wanted more" },
    { "job", "list", "", 0, 0, NULL, job_verb_list, "List jobs" },
    { "job", "show", "JOB", 1, 1, NULL, job_verb_show, "Show one job" },
    { "job", "cancel", "JOB", 1, 1, NULL, job_verb_cancel, "Ask a job to end" },
    { "stats", NULL, "[IQN…]", 0, -1, NULL, stats_verb, "Show counters" },
};
/* clang-format on */

const Verb *
verbs_get(gsize *ret_n_verbs)
{
    *ret_n_verbs = G_N_ELEMENTS(verbs);
    return verbs;
}

const Verb *
verbs_find(const char *noun, const char *verb)
{
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (strcmp(verbs[i].noun, noun) == 0 &&
            (verbs[i].verb == NULL || g_strcmp0(verbs[i].verb, verb) == 0))
            return &verbs[i];
    }
    return NULL;
}

static const VerbOption *
option_find(const Verb *verb, const char *name, gsize length)
{
    for (const VerbOption *o = verb->options; o != NULL && o->name != NULL; o++) {
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    }
    return NULL;
}

/* clang-format off */
static const struct {
    const char *suffix;
    double usec;
} units[] = {
    { "us",  1 },
    { "ms",  1e3 },
    { "s",   1e6 },
    { "min", 60e6 },
    { "",    1e6 },
};
/* clang-format on */

gboolean
verbs_parse_time(const char *text, guint64 *ret_usec, GError **ret_error)
{
    char *end;
    double number = g_ascii_strtod(text, &end);

    for (gsize i = 0; i < G_N_ELEMENTS(units) && end != text; i++) {
        double usec = number * units[i].usec;

        if (strcmp(end, units[i].suffix) != 0 || !isfinite(usec) || usec < 0 || usec > 1e15)
            continue;
        *ret_usec = (guint64)usec;
        return TRUE;
    }
    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "“%s” is not a time, such as 200ms or 5s", text);
    return FALSE;
}

GVariant *
verbs_parse_portal_groups(const char *text, GError **ret_error)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    guint i = 0;

    do {
        g_autofree char *path = NULL;
        guint64 tag;

        if (words[i] == NULL ||
            !g_ascii_string_to_unsigned(words[i], 10, 1, G_MAXUINT16, &tag, NULL)) {
            g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "“%s” is not a target portal group tag",
                        words[i] != NULL ? words[i] : text);
            return NULL;
        }
        path = g_strdup_printf("/org/lunport1/portal_groups/%u", (guint)tag);
        g_variant_builder_add(&builder, "o", path);
    } while (words[++i] != NULL);
    return g_variant_builder_end(&builder);
}

static GVariant *
option_value(const VerbOption *option, const char *text, GError **ret_error)
{
    guint64 number;

    switch (option->type) {
    case OPTION_STRING:
        if (!g_utf8_validate(text, -1, NULL)) {
            g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                                "The value is not UTF-8");
            return NULL;
        }
        return g_variant_new_string(text);
    case OPTION_SIZE:
        return size_parse(text, &number, ret_error) ? g_variant_new_uint64(number) : NULL;
    case OPTION_UINT32:
        if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &number, ret_error))
            return NULL;
        return g_variant_new_uint32((guint32)number);
    case OPTION_TIME:
        return verbs_parse_time(text, &number, ret_error) ? g_variant_new_uint64(number) : NULL;
    case OPTION_FLAG:
    case OPTION_FLAG_NOT:
        break;
    }
    return g_variant_new_boolean(option->type == OPTION_FLAG);
}

static gboolean
parse_option(const Verb *verb, GVariantDict *dict, const char *text, const char *next,
             gboolean *ret_used_next, GError **ret_error)
{
    const char *equals = strchr(text, '=');
    gsize length = equals != NULL ? (gsize)(equals - text) : strlen(text);
    const VerbOption *option = option_find(verb, text, length);
    const char *value = equals != NULL ? equals + 1 : next;
    g_autoptr(GError) error = NULL;
    gboolean is_flag;
    GVariant *variant;

    *ret_used_next = FALSE;
    if (option == NULL) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION,
                    "Unknown option “--%.*s”", (int)length, text);
        return FALSE;
    }

    is_flag = option->type == OPTION_FLAG || option->type == OPTION_FLAG_NOT;
    if (is_flag ? equals != NULL : value == NULL) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    is_flag ? "Option “--%s” takes no value" : "Option “--%s” needs a value",
                    option->name);
        return FALSE;
    }

    variant = option_value(option, value, &error);
    if (variant == NULL) {
        g_assert(error != NULL);
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "Option “--%s”: %s",
                    option->name, error->message);
        return FALSE;
    }
    g_variant_dict_insert_value(dict, option->key, variant);
    *ret_used_next = !is_flag && equals == NULL;
    return TRUE;
}

gboolean
verbs_parse_options(const Verb *verb, int *argc, char **argv, GVariant **ret_options,
                    GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    int kept = 0;
    gboolean only_arguments = FALSE;

    for (int i = 0; i < *argc; i++) {
        gboolean used_next;

        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = TRUE;
            continue;
        }
        if (only_arguments || !g_str_has_prefix(argv[i], "--")) {
            argv[kept++] = argv[i];
            continue;
        }
        if (!parse_option(verb, &dict, argv[i] + 2, i + 1 < *argc ? argv[i + 1] : NULL, &used_next,
                          ret_error))
            return FALSE;
        i += used_next ? 1 : 0;
    }

    if (kept < verb->min_arguments || (verb->max_arguments >= 0 && kept > verb->max_arguments)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "Usage: lunctl %s%s%s %s",
                    verb->noun, verb->verb != NULL ? " " : "", verb->verb != NULL ? verb->verb : "",
                    verb->arguments);
        return FALSE;
    }

    *argc = kept;
    *ret_options = g_variant_ref_sink(g_variant_dict_end(&dict));
    return TRUE;
}

GVariant *
verbs_rows(GVariant *list, const char *const *keys, gsize n_keys)
{
    GVariantBuilder rows;

    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    for (gsize i = 0; i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) tuple = g_variant_get_child_value(list, i);

        g_variant_builder_open(&rows, G_VARIANT_TYPE("a{sv}"));
        for (gsize k = 0; k < MIN(n_keys, g_variant_n_children(tuple)); k++) {
            g_autoptr(GVariant) value = g_variant_get_child_value(tuple, k);

            g_variant_builder_add(&rows, "{sv}", keys[k], value);
        }
        g_variant_builder_close(&rows);
    }
    return g_variant_builder_end(&rows);
}

GVariant *
verbs_list(Ctl *ctl, const char *method, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(&ctl->client, MANAGER_PATH, "Manager", method,
                                            g_variant_new("(a{sv})", NULL), ret_error);

    return reply != NULL ? g_variant_get_child_value(reply, 0) : NULL;
}

GVariant *
verbs_list_rows(Ctl *ctl, const char *method, GError **ret_error)
{
    /* clang-format off */
    static const struct {
        const char *method;
        const char *keys[9];
    } lists[] = {
        { "ListTargets", { "Path", "Name", "Alias", "Enabled", "State", "AccessMode", "LunCount", "SessionCount" } },
        { "ListBackstores", { "Path", "Name", "Type", "File", "Size", "BlockSize", "ReadOnly", "State", "LunCount" } },
        { "ListPortals", { "Path", "Tag", "Address", "Port", "Interface", "Origin", "State", "ConnectionCount" } },
        { "ListInitiatorGroups", { "Path", "Name", "Initiators" } },
        { "ListSessions", { "Path", "Target", "InitiatorName", "Tsih", "RemoteAddress", "State", "EstablishedAt" } },
        { "ListJobs", { "Path", "Number", "Operation", "State", "Progress", "StartedAt", "StartedByUid" } },
    };
    /* clang-format on */
    g_autoptr(GVariant) list = verbs_list(ctl, method, ret_error);

    if (list == NULL)
        return NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
        gsize n_keys = 0;

        if (strcmp(lists[i].method, method) != 0)
            continue;
        while (n_keys < G_N_ELEMENTS(lists[i].keys) && lists[i].keys[n_keys] != NULL)
            n_keys++;
        return verbs_rows(list, lists[i].keys, n_keys);
    }
    g_assert_not_reached();
}
