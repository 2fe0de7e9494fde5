/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The table of options, and what is done with a row
 *
 * A row names a member of a spec by its offset and type; the functions below
 * work on any row, so a new option is a new row and a new member and nothing
 * else: reading and writing key files, judging option dictionaries of the bus,
 * copying, comparing and the documentation follow.
 *
 * A value is judged here and nowhere below. Setting a member from text or from
 * a variant ends in the same set_number() or set_string().
 */

#include "model/schema.h"

#include <string.h>

#include "model/access-state.h"
#include "model/acl.h"
#include "model/group-redirect.h"
#include "model/spec.h"
#include "util/address.h"
#include "util/error.h"
#include "util/name.h"
#include "util/pattern.h"
#include "util/size.h"

#define TEXT_MAX      255
#define PATH_TEXT_MAX 4095

static gboolean
fail(GError **ret_error, const char *text, const char *what)
{
    g_autofree char *shown = g_utf8_make_valid(text, -1);
    g_autofree char *quoted = g_strescape(shown, NULL);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, "“%s” is not %s", quoted,
                what);
    return FALSE;
}

static gboolean
is_one_of(const char *text, const char *const *words)
{
    return g_strv_contains(words, text);
}

static gboolean
check_type(const char *text, GError **ret_error)
{
    static const char *const words[] = { "file", "block", "ram", "null", NULL };

    return is_one_of(text, words) || fail(ret_error, text, "a type: file, block, ram or null");
}

static gboolean
check_device_type(const char *text, GError **ret_error)
{
    static const char *const words[] = { "disk", "cdrom", NULL };

    return is_one_of(text, words) || fail(ret_error, text, "a device type: disk or cdrom");
}

static gboolean
check_cache(const char *text, GError **ret_error)
{
    static const char *const words[] = { "default", "none", "writeback", "writethrough", NULL };

    return is_one_of(text, words) ||
           fail(ret_error, text, "a cache mode: default, none, writeback or writethrough");
}

static gboolean
check_access_mode(const char *text, GError **ret_error)
{
    static const char *const words[] = { "closed", "open", NULL };

    return is_one_of(text, words) || fail(ret_error, text, "an access mode: open or closed");
}

static gboolean
check_digest(const char *text, GError **ret_error)
{
    static const char *const words[] = { "None", "CRC32C", "CRC32C,None", "None,CRC32C", NULL };

    return is_one_of(text, words) ||
           fail(ret_error, text, "a list of digests: None, CRC32C, or both with a comma between");
}

static gboolean
check_path(const char *text, GError **ret_error)
{
    return g_path_is_absolute(text) || fail(ret_error, text, "an absolute path");
}

static gboolean
check_uuid(const char *text, GError **ret_error)
{
    return g_uuid_string_is_valid(text) || fail(ret_error, text, "a UUID");
}

/* The identifiers that an administrator may bring along: NAA 2h, 3h, 5h of 8 bytes and 6h of 16 */
static gboolean
check_naa(const char *text, GError **ret_error)
{
    gsize size = strlen(text);
    gboolean hex = strspn(text, "0123456789abcdefABCDEF") == size;

    if (hex && size == 16 && strchr("235", text[0]) != NULL)
        return TRUE;
    if (hex && size == 32 && text[0] == '6')
        return TRUE;
    return fail(ret_error, text,
                "an NAA identifier: 16 hexadecimal digits that begin with 2, 3 or 5, or 32 with 6");
}

/* Fields of INQUIRY data are ASCII (SPC: left-aligned ASCII data fields) */
static gboolean
check_ascii(const char *text, GError **ret_error)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e)
            return fail(ret_error, text, "printable ASCII");
    }
    return TRUE;
}

static gboolean
check_alias(const char *text, GError **ret_error)
{
    for (const char *p = text; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return fail(ret_error, text, "an alias: it has control characters");
    }
    return TRUE;
}

static gboolean
check_interface(const char *text, GError **ret_error)
{
    return strpbrk(text, "/ \t\n") == NULL ||
           fail(ret_error, text, "the name of a network interface");
}

/* One colon is a port; an interface after % need not exist yet */
static gboolean
check_address(const char *text, GError **ret_error)
{
    g_auto(GStrv) parts = g_strsplit(text, "%", 2);
    const char *colon = strchr(text, ':');
    Address address;

    if (strchr(text, '[') != NULL || (colon != NULL && colon == strrchr(text, ':')) ||
        !address_parse(parts[0], ISCSI_PORT, &address, NULL))
        return fail(ret_error, text, "an address without port and brackets");
    return TRUE;
}

/* Initiators are to connect there, from machines with other interfaces */
static gboolean
check_announce(const char *text, GError **ret_error)
{
    Address address;

    if (strchr(text, '%') != NULL || !address_parse(text, ISCSI_PORT, &address, NULL) ||
        address_is_wildcard(&address) || address_port(&address) == 0)
        return fail(ret_error, text, "an address that initiators can reach, as ADDR or ADDR:PORT");
    return TRUE;
}

static gboolean
check_group_redirects(const char *text, GError **ret_error)
{
    g_autoptr(GPtrArray) redirects = group_redirects_parse(text);

    if (redirects == NULL)
        return fail(ret_error, text, "a list of TAG=ADDR[:PORT][=permanent] by ascending tag");
    for (guint i = 0; i < redirects->len; i++) {
        if (!check_announce(((const GroupRedirect *)g_ptr_array_index(redirects, i))->address,
                            ret_error))
            return FALSE;
    }
    return TRUE;
}

/* HOST, HOST:PORT, or an address with or without port */
static gboolean
check_server(const char *text, GError **ret_error)
{
    const char *colon = strrchr(text, ':');
    gsize size = colon != NULL ? (gsize)(colon - text) : strlen(text);
    guint64 port = ISCSI_PORT;
    Address address;

    if (address_parse(text, ISCSI_PORT, &address, NULL))
        return (!address_is_wildcard(&address) && address_port(&address) != 0) ||
               fail(ret_error, text, "the address of a server");
    if (size == 0 || text[0] == '-' ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != size ||
        (colon != NULL && !g_ascii_string_to_unsigned(colon + 1, 10, 1, G_MAXUINT16, &port, NULL)))
        return fail(ret_error, text, "a server as HOST or HOST:PORT");
    return TRUE;
}

static gboolean
check_groups(const char *text, GError **ret_error)
{
    g_auto(GStrv) words = NULL;
    guint64 last = 0;

    if (strcmp(text, "*") == 0)
        return TRUE;

    words = g_strsplit(text, " ", -1);
    for (guint i = 0; words[i] != NULL; i++) {
        guint64 tag;

        if (!g_ascii_string_to_unsigned(words[i], 10, 1, G_MAXUINT16, &tag, NULL) || tag <= last)
            return fail(ret_error, text, "* or a list of portal group tags in ascending order");
        last = tag;
    }
    return TRUE;
}

static gboolean
check_access_states(const char *text, GError **ret_error)
{
    g_autoptr(GArray) states = access_states_parse(text);

    return states != NULL ||
           fail(ret_error, text,
                "a list of TAG:STATE[:preferred][:explicit] by ascending tag, with the states "
                "active-optimized, active-non-optimized, standby, unavailable, offline and "
                "transitioning");
}

typedef struct {
    gsize size;          /* of the spec */
    const char *section; /* what its group is called in key files; N stands for a number */
} Scope;

/* clang-format off */
static const Scope scopes[SCHEMA_N] = {
    [SCHEMA_BACKSTORE]       = { sizeof(BackstoreSpec), "Backstore" },
    [SCHEMA_TARGET]          = { sizeof(TargetSpec), "Target" },
    [SCHEMA_PARAMETER]       = { sizeof(TargetParameters), "Parameters" },
    [SCHEMA_LUN]             = { sizeof(LunSpec), "Lun N" },
    [SCHEMA_PORTAL_GROUP]    = { sizeof(PortalGroupSpec), "PortalGroup" },
    [SCHEMA_PORTAL]          = { sizeof(PortalSpec), "Portal N" },
    [SCHEMA_ACL]             = { sizeof(AclSpec), "Acl N" },
    [SCHEMA_INITIATOR_GROUP] = { sizeof(InitiatorGroupSpec), "InitiatorGroup" },
    [SCHEMA_SETTINGS]        = { sizeof(SettingsSpec), "Service" },
};
/* clang-format on */

#define ROW_BACKSTORE(member) SCHEMA_BACKSTORE, G_STRUCT_OFFSET(BackstoreSpec, member)
#define ROW_TARGET(member)    SCHEMA_TARGET, G_STRUCT_OFFSET(TargetSpec, member)
#define ROW_PARAMETER(member) SCHEMA_PARAMETER, G_STRUCT_OFFSET(TargetParameters, member)
#define ROW_LUN(member)       SCHEMA_LUN, G_STRUCT_OFFSET(LunSpec, member)
#define ROW_GROUP(member)     SCHEMA_PORTAL_GROUP, G_STRUCT_OFFSET(PortalGroupSpec, member)
#define ROW_PORTAL(member)    SCHEMA_PORTAL, G_STRUCT_OFFSET(PortalSpec, member)
#define ROW_ACL(member)       SCHEMA_ACL, G_STRUCT_OFFSET(AclSpec, member)
#define ROW_HOSTS(member)     SCHEMA_INITIATOR_GROUP, G_STRUCT_OFFSET(InitiatorGroupSpec, member)
#define ROW_SETTINGS(member)  SCHEMA_SETTINGS, G_STRUCT_OFFSET(SettingsSpec, member)

#define FILE_ONLY SCHEMA_IN_FILE
#define BOTH      (SCHEMA_IN_FILE | SCHEMA_AT_CREATION)
#define CREATION  SCHEMA_AT_CREATION
#define IDENTITY  (SCHEMA_IN_FILE | SCHEMA_IDENTITY)

/* clang-format off */
static const SchemaOption rows[] = {
    /* scope and offset                           key                         option                 type            preset       min   max           check              flags      doc */
    { ROW_BACKSTORE(name),                        "Name",                     "name",                SCHEMA_STRING,  "",          1,    64,           name_check_object, IDENTITY,  "Name of the backstore: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot" },
    { ROW_BACKSTORE(type),                        "Type",                     "type",                SCHEMA_STRING,  "",          1,    16,           check_type,        IDENTITY,  "Where the blocks live: file, block, ram or null" },
    { ROW_BACKSTORE(path),                        "Path",                     "path",                SCHEMA_STRING,  "",          0,    PATH_TEXT_MAX, check_path,       BOTH,      "Absolute path of the file or device" },
    { ROW_BACKSTORE(size),                        "Size",                     "size",                SCHEMA_SIZE,    "0",         0,    G_MAXINT64,   NULL,              BOTH,      "Size in bytes; 0 takes what the file or device has" },
    { ROW_BACKSTORE(block_size),                  "BlockSize",                "block-size",          SCHEMA_UINT32,  "512",       512,  4096,         NULL,              BOTH,      "Logical block size in bytes, a power of two" },
    { ROW_BACKSTORE(physical_block_size),         "PhysicalBlockSize",        "physical-block-size", SCHEMA_UINT32,  "0",         0,    1 << 20,      NULL,              BOTH,      "Physical block size that initiators are told; 0 asks the store" },
    { ROW_BACKSTORE(cache),                       "Cache",                    "cache",               SCHEMA_STRING,  "default",   0,    16,           check_cache,       BOTH,      "Cache mode: none, writeback, writethrough, or default (none where the file system can, else writeback)" },
    { ROW_BACKSTORE(read_only),                   "ReadOnly",                 "read-only",           SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Open for reading only" },
    { ROW_BACKSTORE(write_cache),                 "WriteCache",               "write-cache",         SCHEMA_BOOLEAN, "yes",       0,    1,            NULL,              BOTH,      "Whether writes may be acknowledged before they are on stable storage; no is cache mode writethrough" },
    { ROW_BACKSTORE(thin),                        "Thin",                     "thin",                SCHEMA_BOOLEAN, "yes",       0,    1,            NULL,              BOTH,      "Tell initiators that blocks can be given back, where they can" },
    { ROW_BACKSTORE(device_type),                 "DeviceType",               "device-type",         SCHEMA_STRING,  "disk",      1,    16,           check_device_type, BOTH,      "What initiators see: disk, or cdrom for a CD/DVD drive with an ISO image in it (or, without a path, none)" },
    { ROW_BACKSTORE(removable),                   "Removable",                "removable",           SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Show a removable medium, which initiators can eject and load again" },
    { ROW_BACKSTORE(lenient_cdb),                 "LenientCdb",               "lenient-cdb",         SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Do not refuse commands with reserved bits set, and stay ready when an initiator stops the unit" },
    { ROW_BACKSTORE(uuid),                        "Uuid",                     "uuid",                SCHEMA_STRING,  "",          0,    36,           check_uuid,        BOTH,      "The permanent identity, from which serial number and designators are made" },
    { ROW_BACKSTORE(serial),                      "SerialNumber",             "serial",              SCHEMA_STRING,  "",          0,    36,           check_ascii,       BOTH,      "Serial number that initiators see, instead of the one made from the UUID" },
    { ROW_BACKSTORE(naa),                         "Naa",                      "naa",                 SCHEMA_STRING,  "",          0,    32,           check_naa,         BOTH,      "NAA identifier that initiators see, in hexadecimal, instead of the one made from the UUID" },
    { ROW_BACKSTORE(vendor),                      "Vendor",                   "vendor",              SCHEMA_STRING,  "",          0,    8,            check_ascii,       BOTH,      "Vendor that initiators see" },
    { ROW_BACKSTORE(product),                     "Product",                  "product",             SCHEMA_STRING,  "",          0,    16,           check_ascii,       BOTH,      "Product that initiators see" },
    { ROW_BACKSTORE(created),                     "Created",                  "created",             SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              FILE_ONLY, "Whether the service made the file, written by the service itself; only such a file is deleted with the backstore" },
    { ROW_BACKSTORE(create),                      "Create",                   "create",              SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              CREATION,  "Make the file, which must not exist" },
    { ROW_BACKSTORE(sparse),                      "Sparse",                   "sparse",              SCHEMA_BOOLEAN, "yes",       0,    1,            NULL,              BOTH,      "Do not allocate the blocks of a file when it is made, or grows" },

    { ROW_TARGET(name),                           "Name",                     "name",                SCHEMA_STRING,  "",          1,    ISCSI_NAME_MAX, name_check_iscsi, IDENTITY, "iSCSI name of the target, in lower case" },
    { ROW_TARGET(alias),                          "Alias",                    "alias",               SCHEMA_STRING,  "",          0,    TEXT_MAX,     check_alias,       BOTH,      "A text for people that initiators are told" },
    { ROW_TARGET(enabled),                        "Enabled",                  "enabled",             SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Let initiators log in" },
    { ROW_TARGET(access_mode),                    "AccessMode",               "access-mode",         SCHEMA_STRING,  "closed",    1,    16,           check_access_mode, FILE_ONLY, "Who may log in where no access rule says so: open (everybody) or closed (nobody)" },
    { ROW_TARGET(authentication),                 "Authentication",           "authentication",      SCHEMA_STRING,  "None",      1,    16,           acl_check_target_authentication, FILE_ONLY, "How initiators prove who they are where no access rule says otherwise: None, or CHAP by the account that lunctl target auth sets; without an account nobody gets in" },
    { ROW_TARGET(relative_port),                  "RelativePort",             "relative-port",       SCHEMA_UINT16,  "0",         0,    G_MAXUINT16,  NULL,              FILE_ONLY, "Relative target port identifier; 0 makes one from the name" },
    { ROW_TARGET(portal_groups),                  "PortalGroups",             "portal-groups",       SCHEMA_STRING,  "*",         0,    PATH_TEXT_MAX, check_groups,     FILE_ONLY, "Tags of the portal groups through which the target is reached, or * for every one" },
    { ROW_TARGET(redirect),                       "Redirect",                 "redirect",            SCHEMA_STRING,  "",          0,    64,           check_announce,    FILE_ONLY, "ADDR[:PORT] to which initiators that log in are sent; empty lets them in here" },
    { ROW_TARGET(redirect_permanent),             "RedirectPermanent",        "redirect-permanent",  SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              FILE_ONLY, "Tell them that the target has moved for good" },
    { ROW_TARGET(group_redirects),                "GroupRedirects",           "group-redirects",     SCHEMA_STRING,  "",          0,    GROUP_REDIRECTS_TEXT_MAX, check_group_redirects, FILE_ONLY, "The same by portal group: TAG=ADDR[:PORT][=permanent] with a space between" },
    { ROW_TARGET(access_states),                  "AccessStates",             "access-states",       SCHEMA_STRING,  "",          0,    ACCESS_STATES_TEXT_MAX, check_access_states, FILE_ONLY, "Asymmetric access states of portal groups: TAG:STATE[:preferred] with a space between" },

    { ROW_PARAMETER(max_recv_data_segment_length), "MaxRecvDataSegmentLength", "MaxRecvDataSegmentLength", SCHEMA_UINT32, "1048576", 512, 1048576,    NULL,              BOTH,      "The most data bytes that an initiator may send in one PDU" },
    { ROW_PARAMETER(max_burst_length),            "MaxBurstLength",           "MaxBurstLength",      SCHEMA_UINT32,  "1048576",   512,  1048576,      NULL,              BOTH,      "The most data bytes of one sequence" },
    { ROW_PARAMETER(first_burst_length),          "FirstBurstLength",         "FirstBurstLength",    SCHEMA_UINT32,  "262144",    512,  1048576,      NULL,              BOTH,      "The most data bytes that come unasked with one command" },
    { ROW_PARAMETER(max_outstanding_r2t),         "MaxOutstandingR2T",        "MaxOutstandingR2T",   SCHEMA_UINT32,  "16",        1,    16,           NULL,              BOTH,      "How many requests for data may be open for one command" },
    { ROW_PARAMETER(max_connections),             "MaxConnections",           "MaxConnections",      SCHEMA_UINT32,  "4",         1,    8,            NULL,              BOTH,      "How many connections a session may have" },
    { ROW_PARAMETER(error_recovery_level),        "ErrorRecoveryLevel",       "ErrorRecoveryLevel",  SCHEMA_UINT32,  "0",         0,    2,            NULL,              BOTH,      "The highest error recovery level that initiators may choose: at 1 PDUs that were lost are sent again, at 2 commands survive their connection too. Answers are kept until the initiator has acknowledged them" },
    { ROW_PARAMETER(default_time2wait),           "DefaultTime2Wait",         "DefaultTime2Wait",    SCHEMA_UINT32,  "2",         0,    3600,         NULL,              BOTH,      "Seconds that an initiator waits before it comes back" },
    { ROW_PARAMETER(default_time2retain),         "DefaultTime2Retain",       "DefaultTime2Retain",  SCHEMA_UINT32,  "20",        0,    3600,         NULL,              BOTH,      "Seconds that the tasks of a lost connection are kept" },
    { ROW_PARAMETER(initial_r2t),                 "InitialR2T",               "InitialR2T",          SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Whether data may only come when it was asked for" },
    { ROW_PARAMETER(immediate_data),              "ImmediateData",            "ImmediateData",       SCHEMA_BOOLEAN, "yes",       0,    1,            NULL,              BOTH,      "Whether data may come with the command" },
    { ROW_PARAMETER(header_digest),               "HeaderDigest",             "HeaderDigest",        SCHEMA_STRING,  "CRC32C,None", 1,  16,           check_digest,      BOTH,      "Header digests that an initiator may choose from" },
    { ROW_PARAMETER(data_digest),                 "DataDigest",               "DataDigest",          SCHEMA_STRING,  "CRC32C,None", 1,  16,           check_digest,      BOTH,      "Data digests that an initiator may choose from" },
    { ROW_PARAMETER(queue_depth),                 "QueueDepth",               "QueueDepth",          SCHEMA_UINT32,  "128",       1,    128,          NULL,              BOTH,      "Most commands in flight in a session" },
    { ROW_PARAMETER(nop_interval),                "NopInterval",              "NopInterval",         SCHEMA_UINT32,  "15",        0,    3600,         NULL,              BOTH,      "Seconds of silence after which an initiator is asked whether it is there; 0 never asks" },
    { ROW_PARAMETER(nop_timeout),                 "NopTimeout",               "NopTimeout",          SCHEMA_UINT32,  "15",        1,    3600,         NULL,              BOTH,      "Seconds to wait for its answer before the connection is closed" },
    { ROW_PARAMETER(max_sessions),                "MaxSessions",              "MaxSessions",         SCHEMA_UINT32,  "0",         0,    65535,        NULL,              BOTH,      "Most sessions of the target; 0 is no limit" },
    { ROW_PARAMETER(async_events),                "AsyncEvents",              "AsyncEvents",         SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Tell initiators at once, by asynchronous messages, when logical units, sizes, access states or mode parameters have changed; in any case they hear of it with their next command. When MaxRecvDataSegmentLength has changed they are asked to negotiate. Linux (open-iscsi) looks for logical units when these have changed, logs in again when asked to negotiate, and ignores the rest" },

    { ROW_LUN(number),                            "Number",                   "number",              SCHEMA_UINT16,  "0",         0,    16383,        NULL,              SCHEMA_IDENTITY, "Logical unit number" },
    { ROW_LUN(backstore),                         "Backstore",                "backstore",           SCHEMA_STRING,  "",          1,    64,           name_check_object, IDENTITY,  "Name of the backstore it is made of" },
    { ROW_LUN(read_only),                         "ReadOnly",                 "read-only",           SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Refuse writes through this target" },

    { ROW_GROUP(tag),                             "Tag",                      "tag",                 SCHEMA_UINT16,  "0",         1,    G_MAXUINT16,  NULL,              IDENTITY,  "Target portal group tag" },

    { ROW_PORTAL(address),                        "Address",                  "address",             SCHEMA_STRING,  "",          1,    64,           check_address,     IDENTITY,  "Address to listen on, without brackets; * is all of both families" },
    { ROW_PORTAL(port),                           "Port",                     "port",                SCHEMA_UINT16,  "3260",      1,    G_MAXUINT16,  NULL,              IDENTITY,  "TCP port" },
    { ROW_PORTAL(announce),                       "AnnounceAddress",          "announce-address",    SCHEMA_STRING,  "",          0,    64,           check_announce,    BOTH,      "ADDR[:PORT] that initiators are told instead, where they reach the portal through address translation; the default port is that of the portal" },
    { ROW_PORTAL(interface),                      "Interface",                "interface",           SCHEMA_STRING,  "",          0,    15,           check_interface,   BOTH,      "Accept only what comes in through this network interface" },

    { ROW_ACL(initiator),                         "Initiator",                "initiator",           SCHEMA_STRING,  "",          0,    ISCSI_NAME_MAX, pattern_check_name, FILE_ONLY, "Name of the initiator in lower case, or a pattern with * and ?" },
    { ROW_ACL(group),                             "Group",                    "group",               SCHEMA_STRING,  "",          0,    64,           name_check_object, FILE_ONLY, "Name of a group of initiators, instead of Initiator" },
    { ROW_ACL(action),                            "Action",                   "action",              SCHEMA_STRING,  "allow",     1,    16,           acl_check_action,  BOTH,      "What the rule does: allow or deny; one that denies wins over all that allow" },
    { ROW_ACL(networks),                          "Networks",                 "networks",            SCHEMA_STRING,  "",          0,    PATH_TEXT_MAX, acl_check_networks, FILE_ONLY, "Addresses from which it holds, as 192.0.2.0/24 or 2001:db8::/32 with a space between; empty is anywhere" },
    { ROW_ACL(portal_groups),                     "PortalGroups",             "portal-groups",       SCHEMA_STRING,  "*",         0,    PATH_TEXT_MAX, check_groups,     FILE_ONLY, "Tags of the portal groups through which it holds, or * for every one" },
    { ROW_ACL(authentication),                    "Authentication",           "authentication",      SCHEMA_STRING,  "Target",    1,    16,           acl_check_authentication, BOTH, "How the initiator proves who it is: Target (as the target has it), None, or CHAP by the account that lunctl access secret sets; without an account nobody gets in by the rule" },
    { ROW_ACL(read_only),                         "ReadOnly",                 "read-only",           SCHEMA_BOOLEAN, "no",        0,    1,            NULL,              BOTH,      "Refuse writes of those whom the rule lets in" },
    { ROW_ACL(lun_map),                           "LunMap",                   "lun-map",             SCHEMA_STRING,  "",          0,    ACL_LIST_TEXT_MAX, acl_check_luns, FILE_ONLY, "Logical units that those whom the rule lets in see: LUN:TARGETLUN[:read-only] with a space between; empty is all of the target" },

    { ROW_HOSTS(name),                            "Name",                     "name",                SCHEMA_STRING,  "",          1,    64,           name_check_object, IDENTITY,  "Name of the group: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot" },
    { ROW_HOSTS(initiators),                      "Initiators",               "initiators",          SCHEMA_STRING,  "",          0,    ACL_LIST_TEXT_MAX, acl_check_initiators, FILE_ONLY, "Names of initiators in lower case, or patterns with * and ?, with a space between" },

    { ROW_SETTINGS(chap_algorithms),              "ChapAlgorithms",           "chap-algorithms",     SCHEMA_STRING,  SETTINGS_ALGORITHM_ALL, 1, 64,      acl_check_algorithms, FILE_ONLY, "Algorithms of CHAP that are taken; the strongest that both sides know is used" },
    { ROW_SETTINGS(discovery_authentication),     "DiscoveryAuthentication",  "discovery-authentication", SCHEMA_STRING, "None",  1,    16,           acl_check_target_authentication, FILE_ONLY, "How initiators prove who they are at discovery: None, or CHAP by the account that lunctl discovery auth sets" },
    { ROW_SETTINGS(limits.max_connections),       "MaxConnections",           "max-connections",     SCHEMA_UINT32,  "8192",      1,    1000000,      NULL,              FILE_ONLY, "Most connections of all initiators; one more is closed at once. As many file descriptors as the process may have, but for 128, are the limit where that is less" },
    { ROW_SETTINGS(limits.max_logins),            "MaxLogins",                "max-logins",          SCHEMA_UINT32,  "256",       1,    65535,        NULL,              FILE_ONLY, "Most connections that have not finished their login; one more is closed at once" },
    { ROW_SETTINGS(limits.max_logins_per_address), "MaxLoginsPerAddress",     "max-logins-per-address", SCHEMA_UINT32, "64",      1,    65535,        NULL,              FILE_ONLY, "The same of one IPv4 address, or of one IPv6 network of 64 bits" },
    { ROW_SETTINGS(limits.login_timeout),         "LoginTimeout",             "login-timeout",       SCHEMA_UINT32,  "15",        1,    3600,         NULL,              FILE_ONLY, "Seconds from the connection to the end of the login, whatever comes meanwhile; then it is closed" },
    { ROW_SETTINGS(limits.silence_timeout),       "SilenceTimeout",           "silence-timeout",     SCHEMA_UINT32,  "5",         1,    3600,         NULL,              FILE_ONLY, "Seconds from the connection to the first byte; then it is closed" },
    { ROW_SETTINGS(limits.pdu_timeout),           "PduTimeout",               "pdu-timeout",         SCHEMA_UINT32,  "60",        1,    3600,         NULL,              FILE_ONLY, "Seconds from the first to the last byte of one message of an initiator; it is looked at when NopInterval has passed, and then the connection is closed" },
    { ROW_SETTINGS(limits.peer_timeout),          "PeerTimeout",              "peer-timeout",        SCHEMA_UINT32,  "60",        0,    3600,         NULL,              FILE_ONLY, "Seconds after which a host that acknowledges nothing is taken for gone (TCP keep-alive and user timeout); 0 leaves that to the system" },
    { ROW_SETTINGS(limits.max_sessions),          "MaxSessions",              "max-sessions",        SCHEMA_UINT32,  "4096",      1,    65534,        NULL,              FILE_ONLY, "Most sessions, discovery sessions included; the login of one more is refused with “out of resources”" },
    { ROW_SETTINGS(limits.max_sessions_per_target), "MaxSessionsPerTarget",   "max-sessions-per-target", SCHEMA_UINT32, "0",      0,    65534,        NULL,              FILE_ONLY, "The same of one target that has no MaxSessions of its own; 0 is no limit" },
    { ROW_SETTINGS(limits.max_text_size),         "MaxTextSize",              "max-text-size",       SCHEMA_UINT32,  "16384",     8192, 16384,        NULL,              FILE_ONLY, "Most bytes of keys in one login or text request, over all its PDUs; a login is refused with “initiator error”, a text request is rejected" },
    { ROW_SETTINGS(limits.max_ahs_size),          "MaxAhsSize",               "max-ahs-size",        SCHEMA_UINT32,  "1020",      0,    1020,         NULL,              FILE_ONLY, "Most bytes of additional header segments of one command; the connection is closed" },
    { ROW_SETTINGS(limits.max_session_bytes),     "MaxSessionBytes",          "max-session-bytes",   SCHEMA_SIZE,    "0",         0,    G_MAXINT64,   NULL,              FILE_ONLY, "Most bytes of buffers for data that one session sends unasked, and half of it for what it reads; a write above ends in TASK SET FULL, a read waits. Less than 1M is taken for 1M; 0 is a quarter of the buffers of a worker, 16M" },
    { ROW_SETTINGS(limits.max_bytes),             "MaxBytes",                 "max-bytes",           SCHEMA_SIZE,    "0",         0,    G_MAXINT64,   NULL,              FILE_ONLY, "Most bytes of buffers of all sessions, in equal parts for the workers, at least 8M each; a write above ends in TASK SET FULL, a read waits. 0 is all that there are, 64M for each worker" },
    { ROW_SETTINGS(isns_server),                  "IsnsServer",               "isns-server",         SCHEMA_STRING,  "",          0,    255,          check_server,      FILE_ONLY, "iSNS server that targets are registered with, HOST[:PORT]; the default port is 3205, empty is none; with one the service listens on another TCP port, for it only" },
};
/* clang-format on */

static gpointer
member(const SchemaOption *option, gpointer spec)
{
    return (guint8 *)spec + option->offset;
}

static gconstpointer
const_member(const SchemaOption *option, gconstpointer spec)
{
    return (const guint8 *)spec + option->offset;
}

static const char *
get_string(const SchemaOption *option, gconstpointer spec)
{
    const char *text = *(char *const *)const_member(option, spec);

    return text != NULL ? text : "";
}

guint64
schema_get_number(const SchemaOption *option, gconstpointer spec)
{
    switch (option->type) {
    case SCHEMA_BOOLEAN:
        return *(const gboolean *)const_member(option, spec) ? 1 : 0;
    case SCHEMA_UINT16:
        return *(const guint16 *)const_member(option, spec);
    case SCHEMA_UINT32:
        return *(const guint32 *)const_member(option, spec);
    case SCHEMA_SIZE:
        return *(const guint64 *)const_member(option, spec);
    case SCHEMA_STRING:
    default:
        g_assert_not_reached();
    }
}

static void
store_number(const SchemaOption *option, gpointer spec, guint64 value)
{
    switch (option->type) {
    case SCHEMA_BOOLEAN:
        *(gboolean *)member(option, spec) = value != 0;
        break;
    case SCHEMA_UINT16:
        *(guint16 *)member(option, spec) = (guint16)value;
        break;
    case SCHEMA_UINT32:
        *(guint32 *)member(option, spec) = (guint32)value;
        break;
    case SCHEMA_SIZE:
        *(guint64 *)member(option, spec) = value;
        break;
    case SCHEMA_STRING:
    default:
        g_assert_not_reached();
    }
}

static gboolean
set_number(const SchemaOption *option, gpointer spec, guint64 value, GError **ret_error)
{
    if (value < option->min || value > option->max) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "%s is %" G_GUINT64_FORMAT ", but must be from %" G_GUINT64_FORMAT
                    " to %" G_GUINT64_FORMAT,
                    option->key, value, option->min, option->max);
        return FALSE;
    }

    store_number(option, spec, value);
    return TRUE;
}

static gboolean
set_string(const SchemaOption *option, gpointer spec, const char *text, GError **ret_error)
{
    char **where = member(option, spec);
    gsize size = strlen(text);

    if (!g_utf8_validate(text, -1, NULL)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, "%s is not UTF-8",
                    option->key);
        return FALSE;
    }
    if (size < option->min || size > option->max) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "%s has %" G_GSIZE_FORMAT " bytes, but must have from %" G_GUINT64_FORMAT
                    " to %" G_GUINT64_FORMAT,
                    option->key, size, option->min, option->max);
        return FALSE;
    }
    if (size > 0 && option->check != NULL && !option->check(text, ret_error)) {
        g_prefix_error(ret_error, "%s: ", option->key);
        return FALSE;
    }

    g_free(*where);
    *where = g_strdup(text);
    return TRUE;
}

static gboolean
parse_boolean(const char *text, guint64 *ret_value)
{
    static const char *const yes[] = { "yes", "true", "on", "1", NULL };
    static const char *const no[] = { "no", "false", "off", "0", NULL };
    g_autofree char *lower = g_ascii_strdown(text, -1);

    if (!is_one_of(lower, yes) && !is_one_of(lower, no))
        return FALSE;

    *ret_value = is_one_of(lower, yes) ? 1 : 0;
    return TRUE;
}

gboolean
schema_set_text(const SchemaOption *option, gpointer spec, const char *text, GError **ret_error)
{
    guint64 value;
    gboolean parsed;

    switch (option->type) {
    case SCHEMA_STRING:
        return set_string(option, spec, text, ret_error);
    case SCHEMA_BOOLEAN:
        parsed = parse_boolean(text, &value);
        break;
    case SCHEMA_SIZE:
        parsed = size_parse(text, &value, NULL);
        break;
    case SCHEMA_UINT16:
    case SCHEMA_UINT32:
        parsed = g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value, NULL);
        break;
    default:
        g_assert_not_reached();
    }

    if (!parsed) {
        (void)fail(ret_error, text,
                   option->type == SCHEMA_BOOLEAN ? "yes or no"
                   : option->type == SCHEMA_SIZE  ? "a size"
                                                  : "a number");
        g_prefix_error(ret_error, "%s: ", option->key);
        return FALSE;
    }
    return set_number(option, spec, value, ret_error);
}

/* Any integer that is not negative */
static gboolean
variant_to_number(GVariant *value, guint64 *ret_number)
{
    gint64 number = -1;

    switch (g_variant_classify(value)) {
    case G_VARIANT_CLASS_BYTE:
        number = g_variant_get_byte(value);
        break;
    case G_VARIANT_CLASS_INT16:
        number = g_variant_get_int16(value);
        break;
    case G_VARIANT_CLASS_UINT16:
        number = g_variant_get_uint16(value);
        break;
    case G_VARIANT_CLASS_INT32:
        number = g_variant_get_int32(value);
        break;
    case G_VARIANT_CLASS_UINT32:
        number = g_variant_get_uint32(value);
        break;
    case G_VARIANT_CLASS_INT64:
        number = g_variant_get_int64(value);
        break;
    case G_VARIANT_CLASS_UINT64:
        *ret_number = g_variant_get_uint64(value);
        return TRUE;
    case G_VARIANT_CLASS_BOOLEAN:
    case G_VARIANT_CLASS_HANDLE:
    case G_VARIANT_CLASS_DOUBLE:
    case G_VARIANT_CLASS_STRING:
    case G_VARIANT_CLASS_OBJECT_PATH:
    case G_VARIANT_CLASS_SIGNATURE:
    case G_VARIANT_CLASS_VARIANT:
    case G_VARIANT_CLASS_MAYBE:
    case G_VARIANT_CLASS_ARRAY:
    case G_VARIANT_CLASS_TUPLE:
    case G_VARIANT_CLASS_DICT_ENTRY:
    default:
        break;
    }

    *ret_number = (guint64)number;
    return number >= 0;
}

static gboolean
fail_type(const SchemaOption *option, GVariant *value, GError **ret_error)
{
    static const char *const words[] = { [SCHEMA_STRING] = "a string (s)",
                                         [SCHEMA_BOOLEAN] = "a boolean (b)",
                                         [SCHEMA_UINT16] = "a number (q)",
                                         [SCHEMA_UINT32] = "a number (u)",
                                         [SCHEMA_SIZE] = "a number of bytes (t)" };

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "%s must be %s and is of type %s", option->option, words[option->type],
                g_variant_get_type_string(value));
    return FALSE;
}

gboolean
schema_set_variant(const SchemaOption *option, gpointer spec, GVariant *value, GError **ret_error)
{
    guint64 number;

    switch (option->type) {
    case SCHEMA_STRING:
        if (!g_variant_is_of_type(value, G_VARIANT_TYPE_STRING))
            return fail_type(option, value, ret_error);
        return set_string(option, spec, g_variant_get_string(value, NULL), ret_error);
    case SCHEMA_BOOLEAN:
        if (!g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
            return fail_type(option, value, ret_error);
        return set_number(option, spec, g_variant_get_boolean(value) ? 1 : 0, ret_error);
    case SCHEMA_UINT16:
    case SCHEMA_UINT32:
    case SCHEMA_SIZE:
        if (!variant_to_number(value, &number))
            return fail_type(option, value, ret_error);
        return set_number(option, spec, number, ret_error);
    default:
        g_assert_not_reached();
    }
}

/* Exact, and short where the size is a round one */
static char *
format_size(guint64 size)
{
    static const char units[] = "TGMK";

    for (guint i = 0; units[i] != '\0' && size != 0; i++) {
        guint shift = 40 - 10 * i;

        if ((size & ((G_GUINT64_CONSTANT(1) << shift) - 1)) == 0)
            return g_strdup_printf("%" G_GUINT64_FORMAT "%c", size >> shift, units[i]);
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT, size);
}

char *
schema_format_text(const SchemaOption *option, gconstpointer spec)
{
    if (option->type == SCHEMA_STRING)
        return g_strdup(get_string(option, spec));
    if (option->type == SCHEMA_BOOLEAN)
        return g_strdup(schema_get_number(option, spec) != 0 ? "yes" : "no");
    if (option->type == SCHEMA_SIZE)
        return format_size(schema_get_number(option, spec));
    return g_strdup_printf("%" G_GUINT64_FORMAT, schema_get_number(option, spec));
}

GVariant *
schema_get_variant(const SchemaOption *option, gconstpointer spec)
{
    switch (option->type) {
    case SCHEMA_STRING:
        return g_variant_new_string(get_string(option, spec));
    case SCHEMA_BOOLEAN:
        return g_variant_new_boolean(schema_get_number(option, spec) != 0);
    case SCHEMA_UINT16:
        return g_variant_new_uint16((guint16)schema_get_number(option, spec));
    case SCHEMA_UINT32:
        return g_variant_new_uint32((guint32)schema_get_number(option, spec));
    case SCHEMA_SIZE:
        return g_variant_new_uint64(schema_get_number(option, spec));
    default:
        g_assert_not_reached();
    }
}

gboolean
schema_is_default(const SchemaOption *option, gconstpointer spec)
{
    g_autofree char *text = schema_format_text(option, spec);

    return strcmp(text, option->preset) == 0 ||
           (option->type == SCHEMA_SIZE && schema_get_number(option, spec) == 0 &&
            option->preset[0] == '0');
}

const SchemaOption *
schema_options(guint *ret_n_options)
{
    *ret_n_options = G_N_ELEMENTS(rows);
    return rows;
}

const SchemaOption *
schema_find_option(SchemaScope scope, const char *option)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope == scope && (rows[i].flags & SCHEMA_AT_CREATION) != 0 &&
            strcmp(rows[i].option, option) == 0)
            return &rows[i];
    }
    return NULL;
}

const SchemaOption *
schema_find_key(SchemaScope scope, const char *key)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope == scope && (rows[i].flags & SCHEMA_IN_FILE) != 0 &&
            strcmp(rows[i].key, key) == 0)
            return &rows[i];
    }
    return NULL;
}

/* Presets are not judged: an identity has none that would be valid */
static void
set_preset(const SchemaOption *option, gpointer spec)
{
    guint64 value = 0;

    if (option->type == SCHEMA_STRING) {
        *(char **)member(option, spec) = g_strdup(option->preset);
        return;
    }
    if (option->type == SCHEMA_BOOLEAN)
        g_assert(parse_boolean(option->preset, &value));
    else
        g_assert(g_ascii_string_to_unsigned(option->preset, 10, 0, G_MAXUINT64, &value, NULL));
    store_number(option, spec, value);
}

void
schema_init(SchemaScope scope, gpointer spec)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope == scope)
            set_preset(&rows[i], spec);
    }
}

void
schema_clear(SchemaScope scope, gpointer spec)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope == scope && rows[i].type == SCHEMA_STRING)
            g_clear_pointer((char **)member(&rows[i], spec), g_free);
    }
}

void
schema_copy(SchemaScope scope, gpointer to, gconstpointer from)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope != scope)
            continue;
        if (rows[i].type == SCHEMA_STRING)
            *(char **)member(&rows[i], to) = g_strdup(get_string(&rows[i], from));
        else
            store_number(&rows[i], to, schema_get_number(&rows[i], from));
    }
}

gpointer
schema_new(SchemaScope scope)
{
    gpointer spec = g_malloc0(scopes[scope].size);

    schema_init(scope, spec);
    return spec;
}

gpointer
schema_dup(SchemaScope scope, gconstpointer spec)
{
    gpointer copy = g_malloc0(scopes[scope].size);

    schema_copy(scope, copy, spec);
    return copy;
}

void
schema_free(SchemaScope scope, gpointer spec)
{
    if (spec == NULL)
        return;

    schema_clear(scope, spec);
    g_free(spec);
}

gboolean
schema_is_equal(SchemaScope scope, gconstpointer a, gconstpointer b)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].scope != scope)
            continue;
        if (rows[i].type == SCHEMA_STRING
                ? strcmp(get_string(&rows[i], a), get_string(&rows[i], b)) != 0
                : schema_get_number(&rows[i], a) != schema_get_number(&rows[i], b))
            return FALSE;
    }
    return TRUE;
}

char *
schema_format_table(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int last = -1;

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if ((rows[i].flags & SCHEMA_IN_FILE) == 0)
            continue;
        if ((int)rows[i].scope != last)
            g_string_append_printf(text, "%s[%s]\n", last < 0 ? "" : "\n",
                                   scopes[rows[i].scope].section);
        last = (int)rows[i].scope;
        g_string_append_printf(text, "%s=%s\n    %s.\n", rows[i].key, rows[i].preset, rows[i].doc);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}
