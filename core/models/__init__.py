"""Student architectures and calibration, shared by server and training. Nothing else imports this package."""
