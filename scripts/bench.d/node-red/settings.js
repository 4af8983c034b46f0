// Node-RED as it would run in production: no editor, no telemetry, warnings only.
module.exports = {
    uiHost: "127.0.0.1",
    httpAdminRoot: false,
    disableEditor: true,
    credentialSecret: false,
    telemetry: { enabled: false, updateNotification: false },
    logging: { console: { level: "warn", metrics: false, audit: false } },
    functionExternalModules: false,
    exportGlobalContextKeys: false,
};
